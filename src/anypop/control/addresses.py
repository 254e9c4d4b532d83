"""Who has an address: an instance, a workload's anycast, an allocation that is kept for somebody, or nobody.

In: control's state and an address. Out: whose it is and why, with the host that it follows from. Pure; it decides
nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from anypop.control.allocation_groups import names_of
from anypop.control.allocation_pins import claim_on, pins_of
from anypop.control.allocation_places import address_at, on_host, rest_of
from anypop.control.state import State
from anypop.model.allocation import AddressClass, Allocation, Place
from anypop.model.announce import Address, Prefix
from anypop.model.names import StackId
from anypop.model.network import Host, Pop
from anypop.model.plan import Incarnation
from anypop.model.table import grouped
from anypop.plan.following import moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """Who has an address. `kind`: anycast, external, private, or foreign. `stack_id` None: nobody's. `says`: why,
    in a sentence.
    """

    kind: str
    says: str
    stack_id: StackId | None = None
    workload: str = ""
    instance: str = ""
    host: str = ""
    pop: str = ""
    allocation: str = ""
    claim: str = ""


def owner_of(state: State, address: Address) -> Owner:
    """Of any address."""
    for held in grouped(state.anycast, f"address{address.version}", address).values():
        declared = state.workloads.get(held.workload_id)
        if declared is not None:
            slug = declared.workload.slug
            says = f"is the anycast address of workload {slug}, for its whole life"
            return Owner(kind="anycast", says=says, stack_id=declared.stack_id, workload=slug)
    covering: list[Prefix] = [*state.network.anycast4, *state.network.anycast6]
    if any(address in prefix for prefix in covering):
        return Owner(kind="anycast", says="is in an anycast prefix, and no workload has it")
    for pop, host in state.network.hosts():
        external: Prefix = host.external4 if address.version == 4 else host.external6
        private: Prefix = host.private4 if address.version == 4 else host.private6
        if address in external:
            return _on_host(state, pop, host, AddressClass.UNICAST, address)
        if address in private:
            return _on_host(state, pop, host, AddressClass.PRIVATE, address)
    return Owner(kind="foreign", says="is in no prefix of this network")


def _on_host(state: State, pop: Pop, host: Host, kind: AddressClass, address: Address) -> Owner:
    word = "private" if kind is AddressClass.PRIVATE else "external"
    number = _number(host, kind, address)
    at = Owner(kind=word, says=f"is of {host.name}'s {word} prefix, and nobody has it", host=host.name, pop=pop.city)
    if number is None:
        return Owner(kind=word, says=f"is {host.name}'s own: no instance gets it", host=host.name, pop=pop.city)
    kept = next(
        (a for a in on_host(state, host.name) if a.place is not None and a.spec.kind is kind
         and a.place.number == number and a.spec.version == address.version),
        None,
    )  # fmt: skip
    for life, leaves in _having(state, host, kind, (number, address.version), kept):
        declared = state.workloads.get(life.workload_id)
        says = f"is the {word} address of instance {life.name}"
        says += f", which lives on {life.host}" if life.host != host.name else ""
        says += ", which is on its way out" if leaves else ""
        return Owner(
            kind=word, says=says + _kept(state, kept), stack_id=declared.stack_id if declared is not None else None,
            workload=declared.workload.slug if declared is not None else "", instance=life.name, host=life.host,
            pop=pop.city, **names_of(kept, claim_on(state, kept) if kept is not None else None),
        )  # fmt: skip
    if kept is not None:
        claim = claim_on(state, kept)
        return Owner(
            kind=word, says=f"is kept, and no instance has it{_kept(state, kept)}", stack_id=kept.stack_id,
            host=host.name, pop=pop.city, **names_of(kept, claim),
        )  # fmt: skip
    if rest_of(Place(host=host.name, number=number, address=address), kind) in state.rests:
        return Owner(
            kind=word, says="was let go a moment ago, and rests before somebody gets it", host=host.name, pop=pop.city
        )
    return at


def _having(
    state: State, host: Host, kind: AddressClass, which: tuple[int, int], kept: Allocation | None
) -> Iterator[tuple[Incarnation, bool]]:
    """Who has an address: by its number there, or the slot whose claim holds it, wherever that lives. `which`: its
    number and family.
    """
    claim = claim_on(state, kept) if kept is not None else None
    if claim is None or claim.holder is None:
        number, version = which
        for life, leaves in _lives(state, host, kind, number):
            pin = pins_of(state, life.workload_id).get(life.name) if kind is AddressClass.UNICAST else None
            if pin is None or version not in moved(pin, life.host, life.index):
                yield life, leaves
        return
    of, name = claim.holder.workload_id, claim.holder.instance
    lives = [p.incarnation for p in state.incarnations_of(of).values() if p.incarnation.name == name]
    yield from ((life, False) for life in sorted(lives, key=lambda i: -i.life))
    yield from ((t.incarnation, True) for t in state.tombstones_of(of).values() if t.incarnation.name == name)


def _lives(state: State, host: Host, kind: AddressClass, number: int) -> Iterator[tuple[Incarnation, bool]]:
    """Those that live there, the newest first, then those that leave."""
    living = sorted((p.incarnation for p in state.incarnations_on(host.name).values()), key=lambda i: -i.life)
    for life in living:
        if number in (life.links if kind is AddressClass.PRIVATE else (life.index,)):
            yield life, False
    for stone in state.tombstones_on(host.name).values():
        life = stone.incarnation
        if number in (life.links if kind is AddressClass.PRIVATE else (life.index,)):
            yield life, True


def _kept(state: State, one: Allocation | None) -> str:
    if one is None:
        return ""
    claim = claim_on(state, one)
    return f"; it is allocation {one.slug}" + (f", held by claim {claim.slug}" if claim is not None else "")


def _number(host: Host, kind: AddressClass, address: Address) -> int | None:
    """From which an address follows; None where no instance's does."""
    first = address_at(host, kind, address.version, 0)
    step = 2 if kind is AddressClass.PRIVATE else 1
    number, odd = divmod(int(address) - int(first), step)
    return number if number >= 0 and not odd else None
