"""`./hack/generate`: what the CRD and its page say of the fields of policies, from the classes that declare them."""
