"""Ballast: a forecasting memory controller for libvirt/QEMU virtual machines."""

__version__ = "0.1.0"
