"""Effects that show what Ballast does: the published board, the local HTTP endpoint, metrics and the log."""
