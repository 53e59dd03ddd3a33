"""What Ballast needs of a virt-launcher pod, as the API server tells it."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.api.problems import InvalidValueError
from controller.api.quantity import parse_quantity
from controller.api.wishes import addressed
from controller.cluster.errors import invalid
from controller.cluster.resources import Object
from controller.engine.inventory import Pod

COMPUTE = "compute"
"""The container of a virt-launcher pod that runs libvirt and QEMU."""

ENDED = frozenset({"Succeeded", "Failed"})
"""Phases of a pod whose containers have ended for good."""


@dataclass(frozen=True, slots=True)
class Launcher:
    """A pod that runs a virtual machine, or is about to."""

    pod: Pod
    expected: bool
    """Its libvirt should answer: it has begun, and nobody has told it to end."""
    machine: Object = field(default_factory=dict)
    """What is the virtual machine to its owner, as an event refers to it: KubeVirt's object, or the pod itself."""


class _PodPart(BaseModel):
    model_config = ConfigDict(extra="ignore")


_Sizes = dict[str, Any]


class _Resources(_PodPart):
    requests: _Sizes | None = None
    limits: _Sizes | None = None


class _Container(_PodPart):
    name: str
    resources: _Resources | None = None


class _Spec(_PodPart):
    nodeName: str = ""  # noqa: N815 - as the API server spells it
    containers: Annotated[list[_Container], Field(min_length=1, fail_fast=True)]
    resources: _Resources | None = None


class _State(_PodPart):
    running: dict[str, Any] | None = None


class _ContainerStatus(_PodPart):
    name: str
    resources: _Resources | None = None
    state: _State | None = None


class _Status(_PodPart):
    phase: str = ""
    qosClass: str = "Guaranteed"  # noqa: N815 - as above; what is not told is read in the most careful way
    containerStatuses: Annotated[list[_ContainerStatus], Field(fail_fast=True)] | None = None  # noqa: N815 - as above


class _Pod(_PodPart):
    metadata: dict[str, Any]
    spec: _Spec
    status: _Status = _Status()


def launcher(sound: Object, node_name: str) -> Launcher | None:
    """What a pod is to Ballast, without its namespace's labels; None where it is of another node, or has ended.

    Raises ApiError where what it says makes no sense.
    """
    try:
        told = _Pod.model_validate(sound)
        request, limit = _memory(told)
    except ValidationError as errors:
        error = errors.errors(include_url=False)[0]
        raise invalid(f"{'.'.join(map(str, error['loc']))}: {error['msg'].lower()}") from errors
    except InvalidValueError as error:
        raise invalid(str(error)) from error
    metadata, status = told.metadata, told.status
    if told.spec.nodeName != node_name or status.phase in ENDED:
        return None
    annotations = metadata.get("annotations") or {}  # others than ours change often, and may have 256 KiB
    pod = Pod(
        uid=metadata.get("uid", ""),
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        labels=metadata.get("labels") or {},
        annotations=addressed(annotations),
        request=request,
        limit=limit,
        qos=status.qosClass,
    )
    return Launcher(pod, metadata.get("deletionTimestamp") is None and _runs(status), _machine(pod, metadata))


def _machine(pod: Pod, metadata: Object) -> Object:
    """The VirtualMachineInstance that owns the pod, where one does."""
    itself = {"apiVersion": "v1", "kind": "Pod", "name": pod.name, "uid": pod.uid}
    owners = metadata.get("ownerReferences")
    known = (each for each in (owners if isinstance(owners, list) else ()) if isinstance(each, dict))
    owner = next((each for each in known if each.get("kind") == "VirtualMachineInstance"), {})
    referring = {part: owner.get(part) for part in itself}
    return referring if all(isinstance(each, str) for each in referring.values()) else itself


def _runs(status: _Status) -> bool:
    states = {each.name: each.state for each in status.containerStatuses or ()}
    state = states.get(COMPUTE)
    return status.phase == "Running" and state is not None and state.running is not None


def _memory(pod: _Pod) -> tuple[int, int | None]:
    """Request and limit of the container that runs QEMU, in bytes. Raises InvalidValueError.

    The limit is the least of those that the kernel keeps to: of a container that is being resized the present one, too,
    and that of all containers together (https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/).
    """
    named = {container.name: container for container in pod.spec.containers}
    own = named.get(COMPUTE, pod.spec.containers[0])
    present = [each.resources for each in pod.status.containerStatuses or () if each.name == own.name]
    kept_to = filter(None, (own.resources, *present, pod.spec.resources))
    limits = [_size((each.limits or {}).get("memory")) for each in kept_to]
    requests = (own.resources and own.resources.requests) or {}
    return _size(requests.get("memory")) or 0, min(filter(None, limits), default=None)  # 0 is no limit to the kubelet


def _size(quantity: Any) -> int | None:
    return None if quantity is None else parse_quantity(quantity, least=0, least_bare=0)
