"""Faults made on purpose, on real parts, and what became of the guests; run by `./hack/faults`.

Every fault has a stage of its own (libvirtd, two guests with a workload, Ballast); a family of faults is a module.
"""
