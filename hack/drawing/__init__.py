"""The pictures that explain Ballast: drawn from what the engine does, not from what it is believed to do."""
