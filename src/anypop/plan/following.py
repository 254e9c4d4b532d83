"""Where an external address that is kept may be had: at the place from which it follows, and elsewhere in its PoP.

In: the network by name, what a slot's claims ask for, and a place. Out: whether it may be had there, and what an
instance there has of it. A host's own prefix leads to that host, so an address follows its slot to another one only
where the PoP's edge router is told of each address in use, and nobody but it tells the world of the prefix. Pure.
"""

from dataclasses import replace

from anypop.model.allocation import Pin, Place
from anypop.model.announce import Address
from anypop.model.names import CityCode, HostName
from anypop.model.network import Host, UpstreamKind
from anypop.model.order import LinkAddress
from anypop.plan.sites import Sites


def may_have(sites: Sites, place: Place, host: HostName) -> bool:
    """Whether an instance on a host may have the external address that is kept at a place."""
    if host == place.host:
        return True
    home, there = sites.hosts.get(place.host), sites.hosts.get(host)
    if home is None or there is None or home.pop.city != there.pop.city:
        return False
    version = place.address.version
    is_still_there = any(place.address == a.external for a in home.numbers.addresses(place.number, 0))
    ways = {u.kind for u in home.host.upstreams if u.has_session(version)}
    return is_still_there and ways == {UpstreamKind.EDGE} and _has_edge(there.host, version)


def why_it_stays(sites: Sites, place: Place) -> str:
    """In words, why an external address can be had at its place alone; empty where it may follow to another host."""
    home = sites.hosts.get(place.host)
    if home is None:
        return ""
    version, city = place.address.version, home.pop.city
    own = sorted(u.name for u in home.host.upstreams if u.has_session(version) and u.kind is not UpstreamKind.EDGE)
    if own:
        return (
            f"{place.host} has BGP sessions of its own ({', '.join(own)}), by which the world is led to it for the "
            "whole of its prefix; behind an edge router of the PoP the address would follow its instance"
        )
    others = [host.name for host in home.pop.hosts if host.name != place.host]
    if not others:
        return f"{city} has no other host"
    if not any(may_have(sites, place, host) for host in others):
        return f"no other host of {city} has a session with its edge router"
    return ""


def _has_edge(host: Host, version: int) -> bool:
    return any(u.kind is UpstreamKind.EDGE and u.has_session(version) for u in host.upstreams)


def may_have_all(sites: Sites, pin: Pin, host: HostName) -> bool:
    """The same of all that a slot claims; private addresses are had on their own host alone."""
    return pin.host in (None, host) and all(may_have(sites, place, host) for place in (*pin.own, *pin.beside))


def homes(pin: Pin) -> list[HostName]:
    """Where a slot's addresses are from, the private ones first."""
    private = [pin.host] if pin.host is not None else []
    return list(dict.fromkeys([*private, *(place.host for place in (*pin.own, *pin.beside))]))


def hosts_for(sites: Sites, pin: Pin, city: CityCode) -> list[HostName]:
    """The hosts of a PoP on which a slot may have all that it claims."""
    pop = sites.pops.get(city)
    return [h.name for h in (pop.hosts if pop is not None else ()) if may_have_all(sites, pin, h.name)]


def moved(pin: Pin, host: HostName, index: int) -> dict[int, Address]:
    """By family: the external address of an instance with that number, where it is not the one that follows from it."""
    return {p.address.version: p.address for p in pin.own if (p.host, p.number) != (host, index)}


def as_claimed(addresses: tuple[LinkAddress, ...], pin: Pin, host: HostName, index: int) -> tuple[LinkAddress, ...]:
    """Those of an instance's first interface, with what its slot has in place of what follows from its number."""
    instead = moved(pin, host, index)
    if not instead:
        return addresses
    return tuple(replace(one, external=instead.get(one.private.version, one.external)) for one in addresses)


def beside(pin: Pin) -> tuple[Address, ...]:
    """The external addresses that a slot has beside its own."""
    return tuple(place.address for place in pin.beside)
