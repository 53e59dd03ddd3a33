"""All effects towards libvirt and the host's /proc: what is read, and the balloons that are moved."""
