"""All that a release publishes, made offline from a commit, the same each time."""
