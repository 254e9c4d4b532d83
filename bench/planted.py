"""Internets with one planted cause: what is announced serves everybody at home, but for one thing that is made wrong.

Ten PoPs announce to two global networks; all networks are in the PoPs' cities, those of Africa in Europe's, so that
the nearest exit is home. Then one of: a global network has a customer to which we announce in one place (`customer`),
or two of them (`pair`), or it is our peer as well (`peer`); or what a global network hears at home is prepended
(`prepend`), withheld (`withheld`) or down (`down`). Who is to blame follows from how it was made. So may a network
nearer to the victims be: one that held a route home for most of them and took another (`could_have_mended`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from anypop.model.announce import Mode, Scope
from anypop.model.names import CityCode
from anypop.model.network import UpstreamKind
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.sessions import Announcements, Session
from anypop.routing.catchment.strays import far
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.generate import EXCHANGES, GLOBAL, generate
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import Link, Relationships
from anypop.routing.internet.sites import Bool
from anypop.routing.internet.world import build_internet

KINDS = ("customer", "pair", "peer", "prepend", "withheld", "down")
# Those of one continent are so near to each other that who lands in another one of them is not astray.
POPS = ("AMS", "BKK", "CDG", "FRA", "GRU", "IAD", "JFK", "MEL", "SIN", "SYD")
# The first wins ties by its number, so that a tie with the second leads nobody astray.
SAFE, OTHER = 174, 7018
_FIRST, _SECOND = 64601, 64602  # numbers of the customers
_EUROPE = ("AMS", "CDG", "FRA")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """`healthy`: what is announced without the fault. `blamed`: the network that the fault is at. `links` and `places`
    are what `engine` was made of.
    """

    kind: str
    engine: Engine
    links: Relationships
    places: Places
    healthy: Announcements
    announced: Announcements
    blamed: int


def planted(seed: int, networks: int) -> Planted:
    """A generated internet with the cause that this seed has."""
    made = generate(networks, seed)
    rng = np.random.default_rng(seed)
    return plant(KINDS[seed % len(KINDS)], made.relationships, at_home(made.places), rng)


def at_home(places: Places) -> Places:
    """The same networks, in the PoPs' cities: those of several places in all of them, others in one of their
    continent.
    """
    near: dict[str, list[str]] = {}
    for choice in EXCHANGES.values():
        here = [pop for pop in POPS if pop in choice] or list(_EUROPE)
        near |= dict.fromkeys(choice, here)
    return Places(
        cities={
            asn: POPS if len(cities) > 1 else (near[cities[0]][asn % len(near[cities[0]])],)
            for asn, cities in places.cities.items()
        }
    )


def plant(kind: str, links: Relationships, places: Places, rng: np.random.Generator) -> Planted:
    """A cause of this kind in these links."""
    sold = {asn: int(((links.a == asn) & (links.kind == Link.PROVIDER)).sum()) for asn in GLOBAL}
    big = max((asn for asn in GLOBAL if asn not in (SAFE, OTHER)), key=lambda asn: sold[asn])
    far = ("SYD", "GRU") if rng.random() < 0.5 else ("GRU", "SYD")
    healthy = Announcements(
        asn=64500,
        sessions=tuple(_session(pop, asn) for pop in POPS for asn in (SAFE, OTHER)),
    )
    if kind in ("customer", "pair", "peer"):
        customers = (_FIRST, _SECOND) if kind == "pair" else (_FIRST,)
        at = dict(zip(customers, far, strict=False))
        links = _with(links, [(big, asn) for asn in customers])
        places = Places(cities={**places.cities, **{asn: (city,) for asn, city in at.items()}})
        engine = Engine(build_internet(links, places))
        more = [_session(city, asn) for asn, city in at.items()]
        if kind == "pair":  # strays come to the second only when the first is gone
            more[1] = replace(more[1], scope=Scope(prepend=1))
        if kind == "peer":
            more += [_session(pop, big, UpstreamKind.PEER) for pop in POPS]
        announced = replace(healthy, sessions=(*healthy.sessions, *more))
        return Planted(
            kind=kind, engine=engine, links=links, places=places, healthy=healthy, announced=announced, blamed=big
        )
    engine = Engine(build_internet(links, places))
    wrong = {"prepend": Scope(prepend=4), "withheld": Scope(mode=Mode.WITHHOLD)}.get(kind, Scope())
    sessions = [
        replace(s, scope=wrong, silent="the BGP session is down" if kind == "down" else "")
        if s.asn == OTHER and s.pop in _EUROPE
        else s
        for s in healthy.sessions
    ]
    announced = replace(healthy, sessions=tuple(sessions))
    return Planted(
        kind=kind, engine=engine, links=links, places=places, healthy=healthy, announced=announced, blamed=OTHER
    )


def victims(made: Planted) -> Bool:
    """Who is astray by the fault alone."""
    before, fault = (far(predict(made.engine, one, homes=made.healthy.pops)) for one in (made.healthy, made.announced))
    return fault & ~before


def could_have_mended(made: Planted, asn: int) -> bool:
    """Whether most victims are at home once this network does not hear from whom it has its route: it held another
    one, and chose this. That is said by a graph without that link, and by no function of the doctor.
    """
    net, hurt = made.engine.internet, victims(made)
    outcome = predict(made.engine, made.announced, homes=made.healthy.pops).outcome
    senders = {int(net.asn[outcome.sender[site]]) for site in net.sites_of(asn) if outcome.sender[site] >= 0} - {asn}
    links = made.links
    gone = (np.isin(links.a, list(senders)) & (links.b == asn)) | (np.isin(links.b, list(senders)) & (links.a == asn))
    left = replace(links, a=links.a[~gone], b=links.b[~gone], kind=links.kind[~gone], line=links.line[~gone])
    other = Engine(build_internet(left, made.places))
    found = predict(other, made.announced, homes=made.healthy.pops)
    home = ~far(found) & (found.pop >= 0)
    return bool(senders) and int((hurt & home).sum()) > int(hurt.sum()) / 2


def _session(pop: str, asn: int, kind: UpstreamKind = UpstreamKind.TRANSIT) -> Session:
    return Session(pop=CityCode(pop), upstream=f"as{asn}", asn=asn, kind=kind)


def _with(links: Relationships, sold: Sequence[tuple[int, int]]) -> Relationships:
    """The links and these: provider, customer."""
    a, b = (np.array(column, dtype=np.int64) for column in zip(*sold, strict=True))
    return replace(
        links,
        a=np.concatenate([links.a, a]),
        b=np.concatenate([links.b, b]),
        kind=np.concatenate([links.kind, np.full(len(a), int(Link.PROVIDER))]),
        line=np.concatenate([links.line, np.zeros(len(a), np.int64)]),
    )
