"""Every kind of meaning that a community can have, asked of real BIRDs: what the routers then hold is what its
dictionary says.

One small internet, brought up once. Seven networks obey a shipped dictionary each; all have the same customer, peers
and provider. New York alone announces, to one of the seven: one prefix with the communities of a case, and then another
without, so a case reads as a difference between two prefixes at one moment. The model must say the same of all tables
of all routers.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import pytest
import yaml
from bench.agreement.compare import Prediction, Table, heard, predict
from bench.agreement.running import Running, running
from bench.agreement.worlds import PREFIXES, World

from anypop.host import birdc, ip, netns
from anypop.lab import daemons, model
from anypop.lab.model import Modelled
from anypop.model.announce import Mode, Prefix, Scope
from anypop.model.errors import WorldError
from anypop.routing.actions import EVERYWHERE, Action, LocalPreference, Neighbours
from anypop.routing.dictionary import for_asn, known_asns, well_known
from anypop.routing.entries import Entry
from tests.wait import wait_until

pytestmark = pytest.mark.lab

# AS64601 is everyone's customer, AS701 and AS7018 (in America alone) everyone's peers, AS64602 everyone's provider.
DOCUMENT = yaml.safe_load(
    """
ases:
  - &wide {asn: 174, cities: [LHR, JFK], internal: [LHR-JFK]}
  - {<<: *wide, asn: 209}
  - {<<: *wide, asn: 1299}
  - {<<: *wide, asn: 2914}
  - {asn: 3356, cities: [JFK]}
  - {asn: 6461, cities: [JFK]}
  - {asn: 20473, cities: [JFK]}
  - {<<: *wide, asn: 64601}
  - {<<: *wide, asn: 701}
  - {asn: 7018, cities: [JFK]}
  - {<<: *wide, asn: 64602}
vantages:
  - {name: asked, asn: 209, city: LHR}
  - {name: other, asn: 2914, city: LHR}
anypop:
  asn: 64512
  anycast4: [198.18.0.0/24, 198.18.1.0/24, 198.18.2.0/24, 198.18.3.0/24]
  anycast6: ["2001:db8:a0::/48", "2001:db8:a1::/48", "2001:db8:a2::/48", "2001:db8:a3::/48"]
"""
)
WIDE, NARROW = (174, 209, 1299, 2914), (3356, 6461, 20473)
CUSTOMER, PEERS, PROVIDER = (
    ("as64601-lhr", "as64601-jfk"),
    ("as701-lhr", "as701-jfk", "as7018-jfk"),
    ("as64602-lhr", "as64602-jfk"),
)
EVERYONE = (*CUSTOMER, *PEERS, *PROVIDER)
AS701 = PEERS[:2]
IN_EUROPE = tuple(name for name in EVERYONE if name.endswith("lhr"))
IN_AMERICA = tuple(name for name in EVERYONE if name.endswith("jfk"))
ASKED, PLAIN = 0, 1  # numbers of covering prefixes
SESSIONS = [("JFK", f"u{asn}") for asn in (*WIDE, *NARROW)]
_SOON_S = 15.0  # two busy cores; an idle machine needs 0.1 s


def _document() -> dict[str, object]:
    links = []
    for asn in (*WIDE, *NARROW):
        both = ["LHR", "JFK"] if asn in WIDE else ["JFK"]
        links += [
            {"a": 64601, "b": asn, "relationship": "customer-provider", "at": both},
            {"a": asn, "b": 701, "relationship": "peer", "at": both},
            {"a": asn, "b": 7018, "relationship": "peer", "at": ["JFK"]},
            {"a": asn, "b": 64602, "relationship": "customer-provider", "at": both},
        ]
    upstreams = [{"name": f"u{asn}", "asn": asn} for asn in (*WIDE, *NARROW)]
    pops = [{"city": "JFK", "external4": "198.19.0.0/24", "external6": "2001:db8:b0::/48", "upstreams": upstreams}]
    return {"name": "meanings", **DOCUMENT, "links": links, "anypop": DOCUMENT["anypop"] | {"pops": pops}}


def _world(told: Mapping[int, Mapping[int, Scope]]) -> World:
    """The internet in which the k-th prefix goes to the upstreams in `told[k]` and to nobody else."""
    silent = Scope(mode=Mode.WITHHOLD)
    scopes = tuple(
        {session: told.get(k, {}).get(int(session[1][1:]), silent) for session in SESSIONS} for k in range(PREFIXES)
    )
    return World(seed=0, document=_document(), scopes=scopes)


@dataclass(frozen=True, kw_only=True)
class Case:
    """`by`: the network that is asked. Of those that hear the route from it directly: `silent` do not any more,
    `longer` hear a path with so many more hops; nothing changes for others. `preferences`: of its own routers that have
    another than a customer's route (300); None where it is not held at all. `med`: who hears one.
    """

    by: int
    said: tuple[str, ...]
    silent: tuple[str, ...]
    longer: Mapping[str, int]
    preferences: Mapping[str, int | None]
    med: tuple[str, ...]

    @property
    def communities(self) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(map(int, text.split(":"))) for text in self.said)


def case(
    by: int,
    said: str,
    *,
    silent: Iterable[str] = (),
    longer: Mapping[str, int] | None = None,
    lhr: int | None = 300,
    jfk: int | None = 300,
    med: Iterable[str] = (),
) -> Case:
    preferences = {f"as{by}-lhr": lhr, f"as{by}-jfk": jfk} if by in WIDE else {f"as{by}-jfk": jfk}
    return Case(
        by=by,
        said=tuple(said.split()),
        silent=tuple(silent),
        longer=longer or {},
        preferences=preferences,
        med=tuple(med),
    )


CASES = (
    # no-export-to
    case(209, "209:7032", silent=CUSTOMER),
    case(209, "209:7030", silent=PEERS),
    case(209, "209:7031", silent=PROVIDER),
    case(174, "174:990", silent=EVERYONE),
    case(174, "174:970", silent=IN_AMERICA),
    case(174, "174:980", silent=IN_EUROPE),
    case(1299, "1299:2009", silent=("as701-lhr",)),
    case(1299, "1299:5009", silent=("as701-jfk", "as7018-jfk")),
    case(2914, "2914:429", silent=PEERS),
    case(2914, "2914:439", silent=("as701-lhr",)),  # outside the region where it was announced, America
    case(2914, "65500:701", silent=AS701),
    case(2914, "65400:701", silent=("as701-jfk",)),
    case(2914, "65420:701", silent=("as701-lhr",)),
    case(1299, "1299:2579", silent=("as701-lhr",)),
    case(6461, "6461:5540", silent=("as7018-jfk",)),
    # export-to
    case(3356, "65000:0 64960:701", silent=("as7018-jfk",)),
    case(2914, "2914:429 65510:7018", silent=AS701),
    # keep-in-region: AS7018 alone is found in America and nowhere else
    case(209, "209:7100", silent=tuple(name for name in EVERYONE if name != "as7018-jfk"), lhr=None),
    case(209, "209:7200", silent=EVERYONE),
    # prepend
    case(209, "209:7003", longer=dict.fromkeys(EVERYONE, 3)),
    case(2914, "2914:412", longer=dict.fromkeys(CUSTOMER, 2)),
    case(209, "209:7012", longer=dict.fromkeys(PEERS, 2)),
    case(209, "209:7021", longer=dict.fromkeys(PROVIDER, 1)),
    case(1299, "1299:2003", longer={"as701-lhr": 3}),
    case(2914, "65502:701", longer=dict.fromkeys(AS701, 2)),
    case(2914, "65401:701", longer={"as701-jfk": 1}),
    case(1299, "1299:2572", longer={"as701-lhr": 2}),
    case(6461, "6461:5543", longer={"as7018-jfk": 3}),
    case(209, "209:7001 209:7012", longer=dict.fromkeys(EVERYONE, 1) | dict.fromkeys(PEERS, 3)),
    # local-preference: a network's own number stands for its place on the common scale
    case(209, "209:50", lhr=50, jfk=50),
    case(174, "174:10", lhr=50, jfk=50),
    case(209, "209:70", lhr=150, jfk=150),
    case(3356, "3356:70", jfk=150),
    case(1299, "1299:150", lhr=200, jfk=200),
    case(209, "209:90", lhr=250, jfk=250),
    case(3356, "3356:90", jfk=250),
    case(6461, "6461:5180", jfk=290),
    case(2914, "2914:490", lhr=300, jfk=300),
    case(209, "209:110", lhr=310, jfk=310),
    case(174, "174:135", lhr=310, jfk=310),
    case(1299, "1299:12050", lhr=50),
    case(1299, "1299:15150", jfk=200),
    case(1299, "1299:10050", lhr=50),  # outside the region where it was announced
    case(1299, "1299:10150", lhr=200),
    # med
    case(20473, "20473:64609", med=IN_AMERICA),
    case(20473, "64609:701", med=("as701-jfk",)),
    # informational
    case(3356, "3356:123"),
    # well-known
    case(174, "65535:65281", silent=EVERYONE),
    case(2914, "65535:65282", silent=EVERYONE, lhr=None),
    case(1299, "65535:65284", silent=PEERS),
    case(209, "65535:0", lhr=50, jfk=50),
)
BLACKHOLES = ((209, "65535:666"), (209, "209:666"))

Told = Mapping[str, Table]


@pytest.fixture(scope="module")
def lab() -> Iterator[Running]:
    prefix = f"cm{os.getpid() % 46656:x}"
    with running(_world({}), prefix=prefix) as found:
        wait_until(
            lambda: _answers(found.folder / "pop-jfk" / "bird.ctl"),
            timeout_s=_SOON_S,
            reason="the PoP's BIRD can be told things",
        )
        yield found
    assert netns.names(f"{prefix}-") == []


@pytest.fixture(scope="module")
def graph(lab: Running) -> Modelled:
    return model.modelled(lab.plan)


@pytest.mark.parametrize("asked", CASES, ids=lambda c: f"{c.by} {'+'.join(c.said)}")
def test_routers_do_what_a_community_means(lab: Running, graph: Modelled, asked: Case) -> None:
    """Who hears the route, over how long a path, with which MED, and how the asked network prefers it: in the
    routers and in the model.
    """
    scope = Scope(communities=tuple((c[0], c[1]) for c in asked.communities))
    world = _world({ASKED: {asked.by: scope}, PLAIN: {asked.by: Scope()}})
    lab.announce(ASKED, [])  # the world of the fixture announces nothing
    wait_until(lambda: not _held(lab, graph), timeout_s=_SOON_S, reason="nothing of an earlier case is left")
    telling = replace(lab, world=world)
    telling.announce(PLAIN, [])
    _agreed(telling, graph, ASKED)
    # What is told later arrives later: once all know the plain prefix, no news of the other one is still on its way.
    telling.announce(PLAIN, SESSIONS)
    _agreed(telling, graph, PLAIN)
    told = _agreed(telling, graph, ASKED)

    tables = {name: _tables(lab, name) for name in graph.routers}
    for asked_k, plain_k in zip(lab.prefixes(ASKED), lab.prefixes(PLAIN), strict=True):
        before = {name: _hops(tables[name][plain_k], asked.by) for name in EVERYONE}
        after = {name: _hops(tables[name][asked_k], asked.by) for name in EVERYONE}
        for name, hops in before.items():
            wanted = None if hops is None or name in asked.silent else hops + asked.longer.get(name, 0)
            assert after[name] == wanted, name
        assert {name for name, hops in before.items() if hops} >= {*asked.silent, *asked.longer, *asked.med}
        assert {name: _preference(tables[name][asked_k]) for name in asked.preferences} == asked.preferences
        assert {name for name in EVERYONE if before[name] and _med_heard(lab, name, asked.by, asked_k)} == set(
            asked.med
        )
    compiled = {name: told.outcome.path(site) for site, name in enumerate(graph.routers)}
    assert compiled == {name: best[1] if best else () for name, (_, best) in told.tables.items()}


def test_a_route_that_is_about_to_go_is_used_last(lab: Running, graph: Modelled) -> None:
    """GRACEFUL_SHUTDOWN to AS209: its customer turns to AS1299, whose path is as long and which loses the tie
    otherwise.
    """
    going = Scope(communities=((65535, 0),))
    world = replace(lab, world=_world({ASKED: {209: going, 1299: Scope()}, PLAIN: {209: Scope(), 1299: Scope()}}))
    world.announce(ASKED, SESSIONS)
    for k in (ASKED, PLAIN):
        _agreed(world, graph, k)
    for plain, asked in zip(lab.prefixes(PLAIN), lab.prefixes(ASKED), strict=True):
        best = {prefix: _tables(lab, "as64601-jfk")[prefix][1] for prefix in (plain, asked)}
        assert [route and route[1][0] for route in (best[plain], best[asked])] == [209, 1299]


@pytest.mark.parametrize(("by", "community"), BLACKHOLES)
def test_a_blackhole_drops_what_goes_to_one_host(lab: Running, graph: Modelled, by: int, community: str) -> None:
    """A host route inside a covering prefix: all routers of the asked network drop its packets, nobody else hears of
    it. The model, which knows covering prefixes alone, says nothing of it and stays right about those.
    """
    world = replace(lab, world=_world({k: {209: Scope(), 2914: Scope()} for k in range(PREFIXES)}))
    world.announce(ASKED, SESSIONS)
    hosts = lab.prefixes(ASKED)
    wait_until(
        lambda: not _knowing(lab, graph, hosts), timeout_s=_SOON_S, reason="no host route of an earlier case is left"
    )
    for k in range(PREFIXES):
        _agreed(world, graph, k)
    assert set(lab.landings(lab.plan.vantages).values()) == {"JFK"}

    _tell_hosts(lab, by, community)
    own = {f"as{by}-jfk", f"as{by}-lhr"}
    wait_until(
        lambda: all(_drops(lab, name, p) for name in own for p in hosts),
        timeout_s=_SOON_S,
        reason="they drop packets to the host",
    )
    lost = {key for key, where in lab.landings(lab.plan.vantages).items() if not where}
    assert lost == {("asked", prefix) for prefix in hosts}
    assert _knowing(lab, graph, hosts) == own
    for k in (ASKED, PLAIN):
        _agreed(world, graph, k)


def test_every_meaning_in_the_shipped_dictionaries_has_a_case() -> None:
    """A new kind of action, or a kind with neighbours, a place or a preference that no case here has, fails until
    there is one.
    """
    tried = {
        _shape(entry)
        for by, text in (*((c.by, t) for c in CASES for t in c.said), *BLACKHOLES)
        if (entry := _entry(by, text))
    }
    shipped = {_shape(entry): f"AS{asn} {entry.text}" for asn in known_asns() for entry in for_asn(asn).entries}
    assert {kind.__name__ for kind in get_args(Action)} == {shape[0] for shape in tried}
    assert {shape: text for shape, text in shipped.items() if shape not in tried} == {}
    said = {text for c in CASES for text in c.said} | {text for _, text in BLACKHOLES}
    assert {entry.text for entry in well_known()} - said == set()


def _tell_hosts(lab: Running, by: int, community: str) -> None:
    """Announce the first address of each asked prefix as a host route too, to one network, with one community."""
    home = lab.folder / "pop-jfk"
    text = (home / "bird.conf").read_text()
    for family, prefix in zip((4, 6), lab.prefixes(ASKED), strict=True):
        host = f"{prefix[1]}/{prefix.max_prefixlen}"
        said = f"if net = {host} then {{ bgp_community.add(({community.replace(':', ', ')})); accept; }}"
        head, session, rest = text.partition(f"protocol bgp u{by}_{family} ")
        text = head + session + rest.replace("export filter {", f"export filter {{ {said}", 1)
        text += f"protocol static {{ ipv{family}; route {host} unreachable; }}\n"
    (home / "bird.conf").write_text(text)
    birdc.ask(home / "bird.ctl", "configure")


def _agreed(lab: Running, graph: Modelled, k: int) -> Prediction:
    """What the model says of the k-th prefix, once all routers say it too."""
    told = predict(graph, lab, k)
    with suppress(AssertionError):  # the difference says more than that there is one
        wait_until(lambda: not _unlike(lab, told, k), timeout_s=_SOON_S, reason="all routers say what the model says")
    assert _unlike(lab, told, k) == {}
    return told


def _unlike(lab: Running, told: Prediction, k: int) -> dict[str, tuple[Table, Table]]:
    """The tables that differ from the model's, and those."""
    return {
        f"{name} {prefix}": (table, wanted)
        for name, wanted in told.tables.items()
        for prefix, table in _tables(lab, name).items()
        if prefix in lab.prefixes(k) and table != wanted
    }


def _tables(lab: Running, router: str) -> dict[Prefix, Table]:
    """All that a router holds for each covering prefix, and its best route."""
    found: dict[Prefix, Table] = {}
    asn = int(router.partition("-")[0].removeprefix("as"))
    for prefix, routes in lab.held(router).items():
        said = [(heard(asn, _sender(router, route.protocol), route), route.best) for route in routes]
        found[prefix] = frozenset(one for one, _ in said), next((one for one, best in said if best), None)
    return found


def _held(lab: Running, graph: Modelled) -> bool:
    """Whether anybody has a route to us."""
    return any(held for name in graph.routers for held, _ in _tables(lab, name).values())


def _sender(router: str, protocol: str) -> str:
    """The far end of a session `as209_jfk_v4` or `internal_jfk_v4`; all sessions between networks are within one
    city.
    """
    who, place, _ = protocol.split("_")
    return f"pop-{place}" if who == "as64512" else f"{router.partition('-')[0] if who == 'internal' else who}-{place}"


def _hops(table: Table, by: int) -> int | None:
    """How long the path is that a router hears from a network over their own session; None where it hears none."""
    return next((len(path) for sender, path, *_ in table[0] if sender.startswith(f"as{by}-")), None)


def _preference(table: Table) -> int | None:
    return table[1][2] if table[1] else None


def _med_heard(lab: Running, router: str, by: int, prefix: Prefix) -> bool:
    """Whether the route from a network came with a MED: as text, because a parsed route has 0 for none."""
    session = f"as{by}_{router.rpartition('-')[2]}_v{prefix.version}"
    return "BGP.med: 0" in _ask(lab, router, f"show route where net = {prefix} protocol {session} all")


def _knowing(lab: Running, graph: Modelled, hosts: Iterable[Prefix]) -> set[str]:
    """The routers with a host route to one of the prefixes' first addresses."""
    asked = [f"show route where net = {prefix[1]}/{prefix.max_prefixlen}" for prefix in hosts]
    return {name for name in graph.routers if "/32" in (text := _ask(lab, name, *asked)) or "/128" in text}


def _drops(lab: Running, router: str, prefix: Prefix) -> bool:
    """Whether the router's kernel throws packets to a prefix's first address away."""
    place = next(r.netns for r in lab.plan.routers if r.name == router)
    rows = ip.query(f"-{prefix.version}", "route", "show", "type", "blackhole", netns=place)
    return str(prefix[1]) in {str(row["dst"]).partition("/")[0] for row in rows}


def _answers(control: Path) -> bool:
    """Whether a BIRD that was just started takes commands: its socket appears some milliseconds later."""
    try:
        return bool(birdc.ask(control, "show status"))
    except WorldError:
        return False


def _ask(lab: Running, router: str, *commands: str) -> str:
    return birdc.ask(daemons.control_socket(lab.folder, router), *commands)


def _entry(by: int, text: str) -> Entry:
    found = for_asn(by).lookup(tuple(map(int, text.split(":"))))
    assert found is not None, f"AS{by} does not know {text}"
    return found


def _shape(entry: Entry) -> tuple[object, ...]:
    """The kind of an action, and of what it is told: which neighbours, what place, which preference; not whose
    number and which region.
    """
    action = entry.action
    neighbour, where = getattr(action, "neighbour", ""), getattr(action, "where", EVERYWHERE)
    place = (bool(where.regions), where.outside, where.announced)
    preference = (action.relation, action.value is not None) if isinstance(action, LocalPreference) else ()
    return type(action).__name__, neighbour if isinstance(neighbour, Neighbours | str) else "one AS", place, preference
