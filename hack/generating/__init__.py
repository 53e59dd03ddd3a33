"""`./hack/generate`: what the CRD and its page say of forecast models, from the classes that declare them."""
