"""Faults of the cluster, on a real API server and etcd: guests must not notice, and nothing that was said be missed."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from faulting.cluster_stage import FOLLOWED_S, NODE, ClusterStage
from faulting.fault import FaultResult
from faulting.hostfault import carried_out
from faulting.log import complaints
from faulting.proxy import BROKEN_ANSWERS
from faulting.stage import BUDGET_MIB, POLICY_NAME
from faulting.surroundings import fill, small_disk
from lab.daemons import until
from lab.errors import LabError
from lab.kubernetes.certificates import Authority
from lab.relay import Relay

AWAY_S = 600.0
MOST_COMPLAINTS = 12
"""Of an outage, however long: each part of agent and aggregator says once that nobody answers."""
OTHER_MIB = 215
"""Another minimum than the raised one."""
DELAY_S = 1.5
"""Each way: a request on a new connection takes nine seconds."""
BROKEN_S = 45.0
"""Each of the answers comes several times."""
QUIET_S = 30.0
"""How long a former leader must have written nothing since it hears again: twice a Lease."""
TOKEN_S = 90.0
"""Deadline for a token that is no longer valid to be noticed; the API server remembers what it granted for 10 s."""
MANIFESTS = Path(__file__).parents[2] / "manifests" / "default"
SYSTEM = ("-n", "ballast-system")
KIND = "memorypolicies.ballast.dev"
FIELD = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/moonPhase"


@dataclass(frozen=True, slots=True)
class ClusterFault:
    """`make` carries it out on a stage on which nothing of Ballast runs yet, and returns seconds to recovery."""

    name: str
    done: str
    """What is done, for a person; says what of it is made up."""
    make: Callable[[ClusterStage], float]

    def carry_out(self) -> FaultResult:
        """Set the stage, make the fault, judge. Raises LabError only when the stage cannot be set."""
        with ClusterStage() as stage:
            return carried_out(self, stage, partial(self.make, stage))


def _api_away(stage: ClusterStage) -> float:
    """Recovered: a policy changed after the outage counts on the guests, and its status says so."""
    stage.run()
    since, end = time.time(), time.monotonic() + AWAY_S
    stage.plane.kill_apiserver()
    while time.monotonic() < end:
        for guest in stage.guests:
            stage.work(guest)
    said = complaints(stage.log, since)
    if len(said) > MOST_COMPLAINTS:
        raise LabError(f"{len(said)} complaints in the log about one outage")
    stage.plane.start_apiserver()
    back = time.monotonic()
    stage.rule_anew()
    return time.monotonic() - back


def _etcd_restored(stage: ClusterStage) -> float:
    """Recovered: the change that was lost counts no more, one made since counts, and its status says so."""
    stage.run()
    backup = stage.plane.back_up()
    stage.rule_anew()
    stage.plane.restore(backup)
    back = time.monotonic()
    stage.settle()
    stage.rule_anew(OTHER_MIB)
    return time.monotonic() - back


def _token_expired(stage: ClusterStage) -> float:
    """Recovered: from the new token on, a policy changed meanwhile counts, and its status says so."""
    stage.plane.kubectl("apply", "-k", str(MANIFESTS))
    token = stage.folder / "token"
    token.write_text(_token(stage, "first"))
    stage.access = _with_token(stage, token)
    stage.run()
    since = time.time()
    stage.plane.kubectl("delete", "pod", "first", *SYSTEM, "--force")
    stage.raise_minimum(OTHER_MIB)
    until(
        lambda: any("Unauthorized" in said for said in complaints(stage.log, since)),
        TOKEN_S,
        "an invalid token noticed",
    )
    stage.served(stage.taker, 0.0)
    token.write_text(_token(stage, "second"))
    renewed = time.monotonic()
    stage.raised(OTHER_MIB)
    stage.followed()
    return time.monotonic() - renewed


def _token(stage: ClusterStage, pod: str) -> str:
    """As the kubelet would give it to an agent's pod of this name on the node."""
    spec = {"serviceAccountName": "ballast-agent", "nodeName": NODE, "containers": [{"name": "agent", "image": "none"}]}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}, "spec": spec}
    stage.plane.kubectl("apply", *SYSTEM, "-f", "-", input=json.dumps(made))
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={pod}")
    return stage.plane.kubectl("create", "token", "ballast-agent", *SYSTEM, *bound).strip()


def _with_token(stage: ClusterStage, token: Path) -> Path:
    """A kubeconfig that names the file of the token."""
    config = json.loads(stage.plane.kubeconfig.read_text())
    config["users"][0]["user"] = {"tokenFile": str(token)}
    file = stage.folder / "agent.kubeconfig"
    file.write_text(json.dumps(config))
    return file


def _api_slow(stage: ClusterStage) -> float:
    """Recovered: from a change of the policy until it counts and its status says so, still through the slow network."""
    relay = stage.stack.enter_context(Relay(stage.plane.url, DELAY_S))
    stage.access = relay.kubeconfig(stage.plane.kubeconfig, stage.folder)
    stage.run()
    for guest in stage.guests:
        stage.work(guest)
    changed = time.monotonic()
    stage.rule_anew()
    return time.monotonic() - changed


def _proxy_broken(stage: ClusterStage) -> float:
    """Recovered: from when the proxy passes on again until a change of the policy counts, and its status says so."""
    relay = stage.stack.enter_context(Relay(stage.plane.url))
    stage.access = relay.kubeconfig(stage.plane.kubeconfig, stage.folder)
    stage.run()
    since, end = time.time(), time.monotonic() + BROKEN_S
    relay.spoil(Authority(stage.folder / "proxy").server("proxy", ["127.0.0.1"], []), BROKEN_ANSWERS)
    while time.monotonic() < end:
        for guest in stage.guests:
            stage.work(guest)
    said = complaints(stage.log, since)
    if not said or len(said) > MOST_COMPLAINTS * len(BROKEN_ANSWERS):
        raise LabError(f"{len(said)} complaints in the log about one proxy")
    relay.mend()
    mended = time.monotonic()
    stage.rule_anew()
    return time.monotonic() - mended


def _leader_cut_off(stage: ClusterStage) -> float:
    """Recovered: from the cut until the other replica leads and has written that a change meanwhile is followed.

    Then the former leader hears again, and must neither lead nor write.
    """
    relays = {name: stage.stack.enter_context(Relay(stage.plane.url)) for name in ("first", "second")}
    access = {name: each.kubeconfig(stage.plane.kubeconfig, stage.folder) for name, each in relays.items()}
    first = stage.start_aggregator("first", access["first"])
    stage.wait(first.leads, "the first replica leading")
    second = stage.start_aggregator("second", access["second"])
    stage.start()
    stage.settle()
    stage.followed()
    relays["first"].cut()
    cut = time.monotonic()
    stage.raise_minimum()
    stage.raised()
    stage.wait(second.leads, "the second replica leading")
    stage.followed()
    took = time.monotonic() - cut
    written = first.state()["writes"]
    relays["first"].mend()
    stage.wait(lambda: first.state()["leader"] == "second" and not first.state()["problems"], "the first hearing again")
    end = time.monotonic() + QUIET_S
    while time.monotonic() < end:
        if first.leads() or first.state()["writes"] != written or not second.leads():
            raise LabError("the former leader did not leave the lead to the other")
        time.sleep(1.0)  # there is no event for what does not happen
    return took


def _kinds_upgraded(stage: ClusterStage) -> float:
    """Recovered: from the return of the old kind until the policy counts again, changes included."""
    stage.run()
    _patch_kind(stage, {"op": "add", "path": FIELD, "value": {"type": "string"}})
    stage.wait(lambda: _with_the_field(stage), "the new kind in use")
    stage.wait(lambda: bool(stage.ballast.state()["problems"]), "the policy refused")
    stage.wait(lambda: stage.condition("Ready").get("reason") == "PolicyUnreadable", "the refusal in the status")
    stage.work(stage.taker)
    _patch_kind(stage, {"op": "remove", "path": FIELD})
    back = time.monotonic()
    until(lambda: not stage.ballast.state()["problems"], FOLLOWED_S, "the policy accepted again")
    stage.rule_anew()
    return time.monotonic() - back


def _patch_kind(stage: ClusterStage, change: dict[str, object]) -> None:
    stage.plane.kubectl("patch", "crd", KIND, "--type=json", "-p", json.dumps([change]))


def _with_the_field(stage: ClusterStage) -> bool:
    """Use the field; True when the API server knows it by now."""
    stage.change(moonPhase="full")
    return stage.plane.kubectl("get", "mpol", POLICY_NAME, "-o", "jsonpath={.spec.moonPhase}") == "full"


def _cache_full(stage: ClusterStage) -> float:
    """Recovered: from when there is room again until the cache knows the policy that was changed meanwhile."""
    disk = small_disk(stage, "node/cache")
    stage.run()
    cached = disk / "cluster.json"
    before = cached.read_bytes()
    filler = fill(disk)
    stage.rule_anew()
    left = sorted(each.name for each in disk.iterdir())
    if cached.read_bytes() != before or left != ["cluster.json", "filler"]:
        raise LabError(f"the cache was spoiled; its folder holds {left}")
    filler.unlink()
    since = time.monotonic()
    until(lambda: cached.read_bytes() != before, FOLLOWED_S, "the cache written")
    return time.monotonic() - since


def _deleted_while_away(stage: ClusterStage) -> float:
    """Recovered: from the agent's start until both guests have what their definitions say."""
    stage.run()
    stage.ballast.kill()
    stage.plane.kubectl("delete", "mpol", POLICY_NAME)
    stage.start()
    since = time.monotonic()
    stage.wait(
        lambda: all(stage.watch.allocation(guest.uuid) > BUDGET_MIB // 2 - 2 for guest in stage.guests),
        "guests given back what their definitions say",
    )
    return time.monotonic() - since


FAULTS = (
    ClusterFault("cluster-api-away", f"API server away for {AWAY_S / 60:.0f} minutes, guests at work", _api_away),
    ClusterFault("cluster-etcd-restored", "etcd restored to before the policy's last change", _etcd_restored),
    ClusterFault(
        "cluster-token-expired",
        "the agent's token turns invalid (made up: the pod it is bound to is deleted), a new one lies there later",
        _token_expired,
    ),
    ClusterFault(
        "cluster-api-slow", f"{DELAY_S:.1f} s either way between agent and API server, from its start on", _api_slow
    ),
    ClusterFault(
        "cluster-proxy-broken",
        f"a proxy answers the agent itself for {BROKEN_S:.0f} s: HTML, torn and mistyped JSON, 502, no HTTP",
        _proxy_broken,
    ),
    ClusterFault("cluster-leader-cut-off", "the leading aggregator of two cut off, and back later", _leader_cut_off),
    ClusterFault(
        "cluster-kinds-upgraded", "the kind replaced by one with a further field, in use, and back", _kinds_upgraded
    ),
    ClusterFault("cluster-cache-full", "the disk of the cache full while the policy changes", _cache_full),
    ClusterFault(
        "cluster-policy-deleted-while-away", "agent SIGKILL, the policy deleted, the agent back", _deleted_while_away
    ),
)
