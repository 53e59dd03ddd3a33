"""Faults made on purpose, on real parts, and what became of the guests; run by `./hack/faults`.

Every fault brings a stage of its own; those of a host (`hostfault.py`) have a libvirtd, two guests with a workload,
and Ballast.
"""
