#!/bin/sh
# What a lab's virt-launcher pod runs: libvirt in session mode, its socket under virtqemud's name, and the guest that
# $DOMAIN defines; without one, whatever migrates here. It ends with the guest, and with SIGTERM. $1 is libvirt's URI.
set -eu
trap 'exit 0' TERM
conf=$XDG_CONFIG_HOME/libvirt sockets=$XDG_RUNTIME_DIR/libvirt
mkdir -p "$conf"
cp /etc/libvirt/qemu.conf "$conf/"
{ cat /etc/libvirt/libvirtd.conf; echo "host_uuid = \"$(cat /proc/sys/kernel/random/uuid)\""; } >"$conf/libvirtd.conf"
libvirtd &
export LIBVIRT_AUTOSTART=0 # who finds no libvirt starts none
# The socket is there before anybody listens.
until virsh -q -c "${1%/*}/libvirt-sock" uri >/dev/null 2>&1; do sleep 0.1; done
mv "$sockets/libvirt-sock" "$sockets/virtqemud-sock"
if [ -n "$DOMAIN" ]; then
    echo "$DOMAIN" >"$conf/domain.xml"
    virsh -c "$1" create "$conf/domain.xml"
else # QEMU alone says nothing: libvirt also runs it to see what it can
    until [ -n "$(virsh -q -c "$1" list --name)" ]; do sleep 0.5 & wait $!; done
fi
while pidof qemu-system-x86_64 >/dev/null; do sleep 0.5 & wait $!; done
