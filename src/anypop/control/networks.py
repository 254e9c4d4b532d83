"""Networks of stacks: declared, changed, deleted. Who is in one follows from its workloads' interface.

In: what a request brings. Out: the `alter` step for `Core.change`, which checks against what is there inside the step.
Every stack has the network `default`; it is stored once somebody has changed it. Pure.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from anypop.control.in_network import check, refuse_overlaps, with_network
from anypop.control.refusals import Exists, NotFound, Precondition
from anypop.control.state import State
from anypop.control.versions import check_version
from anypop.model.announce import Prefix
from anypop.model.errors import Invalid, Problem
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


def create(stack_id: StackId, made: StackNetwork) -> Alter:
    """Add a network; without a slug its name makes one. The step raises `Invalid`, `Exists`, and `Precondition` where
    the stack has too many.
    """

    def alter(state: State, now: float) -> State:
        called = made.slug or slug_of(made.name)
        if not is_slug(called):
            raise Invalid.one("name", f"no slug can be made of {made.name[:80]!r}; give a slug")
        mine = in_stack(state, stack_id)
        if any(n.slug == called for n in mine):
            raise Exists(f"network with slug {called} already exists on stack")
        if len(mine) >= MOST_NETWORKS:
            raise Precondition(f"a stack may have {MOST_NETWORKS} networks")
        _refuse_other_family(made)
        check(state.network, roots(made))
        whole = replace(made, slug=called, name=made.name or called, created_at=now)
        return replace(state, networks=with_entries(state.networks, {whole.id: whole}))

    return alter


def change(
    stack_id: StackId,
    ref: str,
    *,
    name: str | None,
    slug: str | None,
    labels: Words | None,
    annotations: Words | None,
    root4: IPv4Network | None,
    root6: IPv6Network | None,
    families: tuple[int, ...] | None,
    version: Any,
    number: Any,
    since: float,
) -> Alter:
    """Change a network's name, labels or own subnets; what is None stays. What changes nothing is no new version. The
    step raises `NotFound`, `Invalid` for another slug or number, `VersionConflict`, and `Precondition` for other
    own subnets while instances are in it: each keeps its addresses.
    """

    def alter(state: State, now: float) -> State:
        there = of(state, stack_id, ref, since=since)
        if slug and slug != there.slug:
            raise Invalid.one("slug", f"cannot be changed (it is {there.slug})")
        if number and str(number) != str(there.number):
            raise Invalid.one("virtualNetworkIdentifier", f"is given by the platform (it is {there.number})")
        check_version(version, there.version, f"network {there.slug}")
        made = replace(
            there,
            name=name or there.name,
            labels=labels if labels is not None else there.labels,
            annotations=annotations if annotations is not None else there.annotations,
            root4=root4 or there.root4,
            root6=root6 or there.root6,
            families=families or there.families,
        )
        if made == there:
            return state
        _refuse_other_family(made)
        if (made.roots, made.families) != (there.roots, there.families):
            if held := users(state, there):
                raise Precondition(
                    f"subnet and families of network {there.slug} cannot be changed: {', '.join(held)} use it"
                )
            changed = {path: prefix for path, prefix in roots(made).items() if prefix not in there.roots}
            check(state.network, changed)
            refuse_overlaps(state, there, changed.values())
        return with_network(state, replace(made, version=there.version + 1, updated_at=now))

    return alter


def delete(stack_id: StackId, ref: str) -> Alter:
    """Take a network away. The step raises `NotFound`, and `Precondition` for `default`, and while it is in use."""

    def alter(state: State, now: float) -> State:
        there = of(state, stack_id, ref)
        if there.slug == DEFAULT_NETWORK:
            raise Precondition("every stack has the network default: it cannot be deleted")
        if held := users(state, there):
            raise Precondition(f"network {there.slug} is in use by {', '.join(held)}")
        led = [n.slug for n in in_stack(state, stack_id) if any(there.slug in r.networks for r in n.routes)]
        if led:
            raise Precondition(f"routes of network {', '.join(led)} lead to network {there.slug}; delete them first")
        return replace(state, networks=without_keys(state.networks, [there.id]))

    return alter


def _refuse_other_family(network: StackNetwork) -> None:
    """Raises `Invalid` where it has a subnet of a family that its instances have not."""
    others = [*roots(network).items(), *(("ipFamilies", subnet.prefix) for subnet in network.subnets)]
    wrong = [
        Problem(path=path, message=f"{prefix} is IPv{prefix.version}, and the network has no IPv{prefix.version}")
        for path, prefix in others
        if prefix.version not in network.families
    ]
    if wrong:
        raise Invalid(wrong)


def users(state: State, network: StackNetwork) -> list[str]:
    """The workloads that are in a network, or may be by a rollback, by slug."""
    declared = state.in_stack(network.stack_id)
    return [d.workload.slug for d in declared if _uses(state, d.workload, network.slug)]


def roots(network: StackNetwork) -> dict[str, Prefix]:
    """A network's own subnets, by the API's names."""
    found = {"rootSubnet": network.root4, "ipv6Subnet": network.root6}
    return {name: root for name, root in found.items() if root is not None}


def _uses(state: State, workload: Workload, slug: str) -> bool:
    """Whether any instance of it is in the network, or may be by a rollback."""
    kept = (r.workload for r in state.revisions_of(workload.id).values())
    return any(w.is_in(slug) for w in (workload, *kept))


def in_stack(state: State, stack_id: StackId, *, since: float = 0.0) -> list[StackNetwork]:
    """A stack's networks, `default` first. `since`: when the stack was made, and `default` with it."""
    stored = sorted(state.networks_of(stack_id).values(), key=lambda n: (n.created_at, n.id))
    first = next((n for n in stored if n.slug == DEFAULT_NETWORK), None)
    if first is None:
        first = _default_of(stack_id, since)
    return [first, *(n for n in stored if n is not first)]


@lru_cache(maxsize=1024)
def _default_of(stack_id: StackId, since: float) -> StackNetwork:
    """The network that nobody has made; asked for with each declaration."""
    identity = str(uuid.uuid5(_IDS, stack_id))
    return StackNetwork(id=identity, stack_id=stack_id, slug=DEFAULT_NETWORK, name=DEFAULT_NETWORK, created_at=since)


def of(state: State, stack_id: StackId, ref: str, *, since: float = 0.0) -> StackNetwork:
    """A network of the stack by id or slug. Raises `NotFound`."""
    found = next((n for n in in_stack(state, stack_id, since=since) if ref in (n.id, n.slug)), None)
    if found is None:
        raise NotFound(f"no network {ref} on stack")
    return found


def check_networks(state: State, workload: Workload) -> list[StackNetwork]:
    """The networks that a workload's interfaces are to be in. Raises `Invalid` where its stack has not got one."""
    there = {n.slug: n for n in in_stack(state, workload.stack_id)}
    names = ", ".join(there)
    missing = [
        Problem(
            path=f"spec.networkInterfaces[{n}].network",
            message=f"there is no network {one.network} on stack; there are {names}",
        )
        for n, one in enumerate(workload.interfaces)
        if one.network not in there
    ]
    if missing:
        raise Invalid(missing)
    return [there[one.network] for one in workload.interfaces]


def words(given: Mapping[str, str] | None) -> Words | None:
    return None if given is None else tuple(sorted(given.items()))
