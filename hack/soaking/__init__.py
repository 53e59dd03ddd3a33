"""`./hack/soak`: real guests under Ballast for hours."""
