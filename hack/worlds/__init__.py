"""Made-up worlds of demand that no constant was tuned to, and how controllers do in them."""
