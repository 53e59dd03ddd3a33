"""What a user can do about a domain that is left alone, where the reason alone does not tell."""

import shlex

from controller.engine.reasons import Reason

_SILENT = frozenset({str(Reason.NO_STATISTICS), str(Reason.STALE_STATISTICS)})
_REMEDIES = {
    str(Reason.AT_MAXIMUM): "raise limits.maximum of its policy, or the memory of its definition",
    str(Reason.MINIMUM_UNMET): "lower limits.minimum or minimumPercent of the policies here, or move a domain away",
    str(Reason.NOT_RETURNED): "does a device, a lock or another process hold its memory? If so, let it opt out",
    str(Reason.COMMAND_LINE): "say it with libvirt's <memoryBacking> if you can",
}
"""What to do, by the name of the `Reason`."""
HELD = "its policy's rollout does not name this node (in status.enforcingNodes), so that it is only observed"
"""Of a domain whose policy says Enforce, and enforces on other nodes for now."""


def advice(reason: str, name: str, mode: str | None, wishes_error: str, refusal: str = "") -> str:
    """One sentence about the domain called `name`; empty where the reason says it all.

    `reason` is the name of a `Reason`, `mode` that of the domain's policy, `wishes_error` what is wrong with the
    wishes in its metadata, `refusal` what libvirt said when it refused an order.
    """
    if reason == str(Reason.INVALID_WISHES):
        return wishes_error
    if reason == str(Reason.REFUSED):
        return refusal
    if reason in _REMEDIES:
        return _REMEDIES[reason]
    if reason in _SILENT and mode == "Observe":
        command = f"virsh dommemstat {shlex.quote(name)} --period 5 --live"
        return f"Observe turns no statistics on; if they are off: {command} (Enforce does it by itself)"
    if reason in _SILENT and mode == "Enforce":
        return "is the guest's virtio_balloon driver loaded, and the guest alive?"
    return ""
