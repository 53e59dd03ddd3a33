"""Effects that show what Ballast does: the published status store, the local HTTP endpoint, metrics and the log."""
