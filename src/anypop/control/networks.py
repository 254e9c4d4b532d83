"""Networks of stacks: declared, changed, deleted. Who is in one follows from its workloads' interface.

In: what a request brings. Out: the `alter` step for `Core.change`, which checks against what is there inside the step.
Every stack has the network `default`; it is stored once somebody has changed it. Pure.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace

from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.control.state import State
from anypop.model.errors import Invalid
from anypop.model.names import StackId, is_slug, slug_of
from anypop.model.stack_network import DEFAULT_NETWORK, StackNetwork
from anypop.model.table import with_entries, without_keys
from anypop.model.workload import Workload

Alter = Callable[[State, float], State]

MOST_NETWORKS = 32  # of a stack
_IDS = uuid.UUID("0f2d9a52-6a0b-4c0e-9a53-0e6b0f6d7a10")
Words = tuple[tuple[str, str], ...]


def new_id() -> str:
    return str(uuid.uuid4())


def create(stack_id: StackId, identity: str, *, name: str, slug: str, labels: Words, annotations: Words) -> Alter:
    """Add a network. The step raises `Invalid`, `Exists`, and `Precondition` where the stack has too many."""

    def alter(state: State, now: float) -> State:
        called = slug or slug_of(name)
        if not is_slug(called):
            raise Invalid.one("name", f"no slug can be made of {name[:80]!r}; give a slug")
        mine = in_stack(state, stack_id)
        if any(n.slug == called for n in mine):
            raise Exists(f"network with slug {called} already exists on stack")
        if len(mine) >= MOST_NETWORKS:
            raise Precondition(f"a stack may have {MOST_NETWORKS} networks")
        made = StackNetwork(
            id=identity, stack_id=stack_id, slug=called, name=name or called, labels=labels, annotations=annotations,
            created_at=now,
        )  # fmt: skip
        return replace(state, networks=with_entries(state.networks, {identity: made}))

    return alter


def change(
    stack_id: StackId,
    ref: str,
    *,
    name: str | None,
    slug: str | None,
    labels: Words | None,
    annotations: Words | None,
    since: float,
) -> Alter:
    """Change a network's name or labels; what is None stays. What changes nothing is no new version. The step raises
    `NotFound`, and `Invalid` for another slug.
    """

    def alter(state: State, now: float) -> State:
        there = of(state, stack_id, ref, since=since)
        if slug and slug != there.slug:
            raise Invalid.one("slug", f"cannot be changed (it is {there.slug})")
        made = replace(
            there,
            name=name or there.name,
            labels=labels if labels is not None else there.labels,
            annotations=annotations if annotations is not None else there.annotations,
        )
        if made == there:
            return state
        made = replace(made, version=there.version + 1, updated_at=now)
        return replace(state, networks=with_entries(state.networks, {there.id: made}))

    return alter


def delete(stack_id: StackId, ref: str) -> Alter:
    """Take a network away. The step raises `NotFound`, and `Precondition` for `default`, and while it is in use."""

    def alter(state: State, now: float) -> State:
        there = of(state, stack_id, ref)
        if there.slug == DEFAULT_NETWORK:
            raise Precondition("every stack has the network default: it cannot be deleted")
        held = [d.workload.slug for d in state.in_stack(stack_id) if _uses(state, d.workload, there.slug)]
        if held:
            raise Precondition(f"network {there.slug} is in use by {', '.join(held)}")
        return replace(state, networks=without_keys(state.networks, [there.id]))

    return alter


def _uses(state: State, workload: Workload, slug: str) -> bool:
    """Whether any instance of it is in the network, or may be by a rollback."""
    kept = (r.workload for r in state.revisions_of(workload.id).values())
    return any(w.network == slug for w in (workload, *kept))


def in_stack(state: State, stack_id: StackId, *, since: float = 0.0) -> list[StackNetwork]:
    """A stack's networks, `default` first. `since`: when the stack was made, and `default` with it."""
    stored = sorted(state.networks_of(stack_id).values(), key=lambda n: (n.created_at, n.id))
    first = next((n for n in stored if n.slug == DEFAULT_NETWORK), None)
    if first is None:
        identity = str(uuid.uuid5(_IDS, stack_id))
        first = StackNetwork(
            id=identity, stack_id=stack_id, slug=DEFAULT_NETWORK, name=DEFAULT_NETWORK, created_at=since
        )
    return [first, *(n for n in stored if n is not first)]


def of(state: State, stack_id: StackId, ref: str, *, since: float = 0.0) -> StackNetwork:
    """A network of the stack by id or slug. Raises `NotFound`."""
    found = next((n for n in in_stack(state, stack_id, since=since) if ref in (n.id, n.slug)), None)
    if found is None:
        raise NotFound(f"no network {ref} on stack")
    return found


def check_network(state: State, workload: Workload) -> None:
    """Raises `Invalid` where a workload is to be in a network that its stack has not."""
    names = [n.slug for n in in_stack(state, workload.stack_id)]
    if workload.network not in names:
        raise Invalid.one(
            "spec.networkInterfaces[0].network",
            f"there is no network {workload.network} on stack; there are {', '.join(names)}",
        )


def words(given: Mapping[str, str] | None) -> Words | None:
    return None if given is None else tuple(sorted(given.items()))
