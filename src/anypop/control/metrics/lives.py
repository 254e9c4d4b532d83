"""Which incarnation has which labels, and on which host: what a host may tell metrics of.

In: control's state, and each change of it. Out: the labels of every incarnation that is or was on a host, so far as
it is remembered. A host that tells of another one's instance, or gives one to another stack, is not believed: its
series never reach the tenant whose name it took.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping

from anypop.control.state import State
from anypop.model.names import HostName, StackId
from anypop.model.table import differing

MOST_GONE = (
    20_000  # incarnations that are remembered after their end: what an agent kept of them may still be asked for
)
IDENTITY = ("stack", "workload", "instance", "incarnation")

Labels = Mapping[str, str]


class Lives:
    """Of one control; only from its event loop."""

    def __init__(self) -> None:
        self._gone: OrderedDict[str, Labels] = OrderedDict()

    def published(self, before: State, after: State) -> None:
        """Remember those that went by this step."""
        touched = differing(before.incarnations, after.incarnations) | differing(before.tombstones, after.tombstones)
        for uid in touched:
            if uid not in after.incarnations and (labels := labels_of(before, uid)) is not None:
                self._gone[uid] = labels
        while len(self._gone) > MOST_GONE:
            self._gone.popitem(last=False)

    def on(self, state: State, host: HostName) -> Mapping[str, Labels]:
        """By uid: of each that is or was on this host."""
        found = {uid: labels for uid, labels in self._gone.items() if labels["host"] == host}
        for uid in (*state.incarnations_on(host), *state.tombstones_on(host)):
            if (labels := labels_of(state, uid)) is not None:
                found[uid] = labels
        return found

    def matching(
        self, state: State, stacks: Collection[str], *, workload: str = "", pop: str = "", instance: str = ""
    ) -> Mapping[HostName, Mapping[str, Labels]]:
        """By host and uid: of each that is or was in these stacks, and is what is asked for ("": any)."""
        asked = {"workload": workload, "pop": pop, "instance": instance}
        declared = [one for stack in stacks for one in state.in_stack(StackId(stack))]
        uids = [uid for one in declared if workload in ("", one.id) for uid in state.incarnations_of(one.id)]
        found: dict[HostName, dict[str, Labels]] = {}
        for uid, labels in (*self._gone.items(), *((uid, labels_of(state, uid)) for uid in uids)):
            if labels is None or labels["stack"] not in stacks:
                continue
            if all(labels[key] == value for key, value in asked.items() if value):
                found.setdefault(HostName(labels["host"]), {})[uid] = labels
        return found


def labels_of(state: State, uid: str) -> Labels | None:
    """All that name one incarnation, also one that is told to go; None where nobody declares its workload any more."""
    there = state.incarnations.get(uid) or state.tombstones.get(uid)
    declared = state.workloads.get(there.incarnation.workload_id) if there is not None else None
    if there is None or declared is None:
        return None
    life = there.incarnation
    return {
        "pop": str(life.pop), "host": str(life.host), "stack": str(declared.stack_id), "workload": str(declared.id),
        "instance": str(life.name), "incarnation": uid,
    }  # fmt: skip


def may_tell(name: str, labels: Labels, place: Labels, lives: Mapping[str, Labels]) -> bool:
    """Whether a host may tell this series. `place`: its own PoP and name; `lives`: by uid, what may be on it."""
    if not name.startswith(OF_HOSTS) or any(labels.get(key) != value for key, value in place.items()):
        return False
    if uid := labels.get("incarnation", ""):
        known = lives.get(uid)
        return known is not None and all(labels.get(key) == known[key] for key in IDENTITY)
    return not name.startswith(OF_INSTANCES) and not any(labels.get(key) for key in IDENTITY)


OF_INSTANCES = "anypop_instance_"
OF_HOSTS = (OF_INSTANCES, "anypop_anycast_", "anypop_session_", "anypop_tunnel_", "anypop_agent_", "anypop_image_")
