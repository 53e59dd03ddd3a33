"""`./hack/demo`: real guests give memory to each other, as a person sees it."""
