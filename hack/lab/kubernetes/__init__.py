"""A real Kubernetes on this machine: control plane, node, and the agent's image."""
