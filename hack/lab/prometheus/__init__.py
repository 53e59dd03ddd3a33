"""A real Prometheus for tests: `programs` fetches it, `server` runs it."""
