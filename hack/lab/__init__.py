"""The lab: real QEMU guests under a private libvirtd, for `hack/demoing`, other scripts and the tests with real parts.

`image` builds what guests boot, `libvirtd` and `reaper` run a libvirtd that leaves the machine's own alone
and take everything down again, `guest` is one guest with a workload on command. Only `ballast` knows Ballast.
"""
