"""The control loop that standalone and the cluster agent share: look, step, act, publish, wait."""
