"""Where an address may be given: a host of a city that fits, and a number there that nobody has.

In: a draft of control's state and what is wished for. Out: a place, or in words why there is none now. An IPv4 and an
IPv6 allocation of one stack in one city share a place where they can, so that one instance may have both. Pure.
"""

from collections.abc import Collection

from anypop.control.rests import resting
from anypop.control.state import State
from anypop.model.allocation import AddressClass, AddressSpec, Allocation, Place
from anypop.model.announce import Address
from anypop.model.names import CityCode, HostName, StackId
from anypop.model.network import Host
from anypop.model.plan import Incarnation
from anypop.model.table import grouped
from anypop.plan.addresses import Numbering
from anypop.plan.drain import emptied_by


def free_place(
    state: State,
    stack: StackId,
    spec: AddressSpec,
    *,
    city: CityCode | None = None,
    near: Collection[HostName] = (),
    alone: bool = False,
) -> Place | str:
    """A place for an address that is not there yet; or why there is none. `city`: there alone; `near`: hosts that come
    first; `alone`: it shares its number with no other.
    """
    cities = [pop for pop in state.network.pops if spec.fits(pop.city) and city in (None, pop.city)]
    if not cities:
        there = ", ".join(sorted(pop.city for pop in state.network.pops)) or "none"
        return f"there is no PoP in a city that its selectors leave; there are {there}"
    drained = {emptied_by(drain) for drain in state.active_drains()}
    hosts = [(pop.city, host) for pop in cities for host in pop.hosts]
    open_ = [host for _, host in hosts if host.name not in {*state.lost, *state.evicted, *drained}]
    for host in () if alone else open_:
        if (number := _beside(state, stack, spec, host)) is not None:
            return Place(host=host.name, number=number, address=address_at(host, spec.kind, spec.version, number))
    found = []
    for host in open_:
        used = taken(state, host.name, spec.kind)
        numbers = Numbering.of(host)
        capacity = numbers.links if spec.kind is AddressClass.PRIVATE else numbers.places
        number = next((n for n in range(capacity) if n not in used), None)
        if number is not None:
            found.append((host.name not in near, len(used) - capacity, host.name, number, host))
    if found:
        *_, number, host = min(found, key=lambda f: f[:4])
        return Place(host=host.name, number=number, address=address_at(host, spec.kind, spec.version, number))
    names = ", ".join(host.name for _, host in hosts)
    return f"all addresses of {names} are taken" if open_ else f"{names}: lost, given up or drained"


def taken(state: State, host: HostName, kind: AddressClass) -> set[int]:
    """The numbers of a host that somebody has, is leaving, or has left a moment ago."""
    used = numbers_used(state, host, kind)
    word = "link" if kind is AddressClass.PRIVATE else "place"
    used |= {n for what in state.rests_on(host) for _, of, n in [resting(what)] if of == word}
    return used | {a.place.number for a in on_host(state, host) if a.place is not None and a.spec.kind is kind}


def _beside(state: State, stack: StackId, spec: AddressSpec, host: Host) -> int | None:
    """The number of an allocation of the stack there whose address of the other family nobody has claimed."""
    mine: dict[int, set[int]] = {}
    for one in on_host(state, host.name):
        if (
            one.place is not None
            and one.spec.kind is spec.kind
            and one.stack_id == stack
            and not one.delete_requested_at
        ):
            mine.setdefault(one.place.number, set()).add(one.spec.version)
    # where an instance lives already, the address of the other family is its own
    lives = numbers_used(state, host.name, spec.kind)
    free = (number for number, versions in mine.items() if versions == {10 - spec.version} and number not in lives)
    return min(free, default=None)


def numbers_used(state: State, host: HostName, kind: AddressClass) -> set[int]:
    """The numbers of a host with which an instance lives, or has not gone yet."""
    lives: list[Incarnation] = [p.incarnation for p in state.incarnations_on(host).values()]
    lives += [t.incarnation for t in state.tombstones_on(host).values()]
    return {n for i in lives for n in (i.links if kind is AddressClass.PRIVATE else (i.index,))}


def on_host(state: State, host: HostName) -> list[Allocation]:
    found: list[Allocation] = list(grouped(state.allocations, "host", host).values())
    return found


def address_at(host: Host, kind: AddressClass, version: int, number: int) -> Address:
    """The address that follows from a number of a host."""
    numbers = Numbering.of(host)
    private = kind is AddressClass.PRIVATE
    four, six = numbers.addresses(0 if private else number, number if private else 0)
    one = four if version == 4 else six
    found = one.private if private else one.external
    assert found is not None, "numbers have both"
    return found


def place_of(draft: State, life: Incarnation, kind: AddressClass, version: int) -> Place | None:
    host = draft.network.host(life.host)
    if host is None:
        return None
    number = life.link if kind is AddressClass.PRIVATE else life.index
    return Place(host=life.host, number=number, address=address_at(host, kind, version, number))


def rest_of(place: Place, kind: AddressClass) -> str:
    """How a place is called among the rests."""
    return f"{place.host}/link/{place.number}" if kind is AddressClass.PRIVATE else f"{place.host}/{place.number}"
