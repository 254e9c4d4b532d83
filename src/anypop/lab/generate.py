"""A made-up internet as a topology file: the proof that nothing is wired to the article's, and a lab of any size.

Comes in: how many networks and PoPs, and a seed. Goes out: YAML of the schema in docs/topology.md; the same numbers
give the same text. Shaped as the Internet is: a few backbones on several continents that all swap routes with each
other; regional networks that buy from two of them and swap among themselves where they meet; and many access networks
in one city, with the hosts to test from. Pure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from random import Random

from anypop.lab.topology import route_km
from anypop.model.cities import city
from anypop.model.errors import Invalid, Problem

# Where networks are, the places with most of them first (by the number of networks at their exchanges, roughly).
_PLACES = {
    "EU": "AMS FRA LHR CDG MAD MXP ARN VIE WAW PRG ZRH CPH DUB LIS BUD OSL HEL ATH BRU OTP",
    "NA": "JFK LAX ORD IAD MIA DFW SEA ATL SFO YYZ DEN BOS YVR PHX YUL MEX MSP",
    "AS": "SIN NRT HKG BOM ICN DXB TPE KIX MAA BKK CGK KUL DEL MNL",
    "SA": "GRU EZE SCL BOG LIM GIG",
    "OC": "SYD MEL AKL PER BNE",
    "AF": "JNB CPT NBO LOS CAI",
}
_HUBS = ("LHR", "JFK")  # every backbone is here, so that each two can meet
# shares of the world's networks, roughly
_CONTINENTS, _WEIGHTS = ("EU", "NA", "AS", "SA", "OC", "AF"), (40, 32, 14, 6, 4, 4)
_FIRST_ASN, _FIRST_LONG_ASN = 64600, 4_200_000_000  # numbers for private use (RFC 6996)
_LAST_SHORT = 900
_OWN_ASN = 64512
_MOST_ASES, _MOST_POPS = 3000, 60
_DICTIONARIES = (3356, 1299, 2914, 174, 3257, 6461, 6939)  # whose action communities the backbones obey, in turn


@dataclass(slots=True, kw_only=True)
class _Network:
    """One network while the internet grows. `level`: 0 backbone, 1 regional, 2 access."""

    asn: int
    name: str
    level: int
    cities: list[str]


def generate(*, ases: int = 100, pops: int = 10, seed: int = 7) -> str:
    """YAML of an internet of so many networks besides our own, with so many PoPs. Raises `Invalid` for numbers that
    cannot be had.
    """
    problems = []
    if not 3 <= ases <= _MOST_ASES:
        problems.append(Problem(path="ases", message=f"{ases} must be from 3 to {_MOST_ASES}"))
    if not 1 <= pops <= _MOST_POPS:
        problems.append(Problem(path="pops", message=f"{pops} must be from 1 to {_MOST_POPS}"))
    if problems:
        raise Invalid(problems)
    dice = Random(seed)
    networks = list(_networks(dice, ases))
    links = [*_clique(networks), *_purchases(dice, networks), *_meetings(dice, networks)]
    text = [
        f"# Made by: anypop lab generate --ases {ases} --pops {pops} --seed {seed}",
        f"name: generated-{ases}-{pops}-{seed}",
        "",
        "ases:",
    ]
    for i, network in enumerate(networks):
        row = [f"asn: {network.asn}", f"name: {network.name}", f"cities: [{', '.join(network.cities)}]"]
        if len(network.cities) > 1:
            row.append(f"internal: [{', '.join(_backbone(network.cities))}]")
        if network.level == 0:
            row.append(f"communities: {_DICTIONARIES[i % len(_DICTIONARIES)]}")
        text.append(f"  - {{{', '.join(row)}}}")
    text += ["", "links:", *links, "", "vantages:", *_vantages(networks, pops), "", "anypop:", f"  asn: {_OWN_ASN}"]
    text.append(f"  anycast4: [{', '.join(f'198.18.{i}.0/24' for i in range(8))}]")
    text.append("  anycast6: [" + ", ".join(f'"2001:db8:a{i}::/48"' for i in range(8)) + "]")
    text += ["  pops:", *_pops(dice, networks, pops)]
    return "\n".join(text) + "\n"


def _networks(dice: Random, count: int) -> Iterator[_Network]:
    backbones = max(2, min(10, count // 12))
    regionals = max(0, min((count - backbones) // 3, count - backbones - 1))
    for i in range(count):
        asn = _FIRST_ASN + i if i < _LAST_SHORT else _FIRST_LONG_ASN + i
        continent = dice.choices(_CONTINENTS, _WEIGHTS)[0]
        places = _PLACES[continent].split()
        if i < backbones:
            elsewhere = [places[dice.randrange(min(6, len(places)))] for places in map(str.split, _PLACES.values())]
            chosen = [*_HUBS, *dice.sample(_PLACES["EU"].split()[:6], 2), *dice.sample(_PLACES["NA"].split()[:8], 2)]
            chosen += dice.sample(elsewhere[2:], dice.randint(1, 3))
            yield _Network(asn=asn, name=f"Backbone {i + 1}", level=0, cities=list(dict.fromkeys(chosen)))
        elif i < backbones + regionals:
            # the first two continents have many places; a regional network is in a few that are near each other
            home = places[min(int(dice.expovariate(0.35)), len(places) - 1)]
            near = sorted(places, key=lambda code: route_km(home, code))[: dice.randint(2, 4)]
            yield _Network(asn=asn, name=f"Regional {continent} {i + 1}", level=1, cities=near)
        else:
            home = places[min(int(dice.expovariate(0.25)), len(places) - 1)]
            yield _Network(asn=asn, name=f"Access {home} {i + 1}", level=2, cities=[home])


def _backbone(places: Sequence[str]) -> list[str]:
    """Internal links: the shortest tree that joins all, and every detour closed that would be more than twice the
    direct way.
    """
    group = {code: code for code in places}
    chosen: list[tuple[str, str]] = []
    pairs = sorted(combinations(places, 2), key=lambda pair: route_km(*pair))
    for a, b in pairs:
        if group[a] != group[b]:
            chosen.append((a, b))
            old = group[b]
            group = {code: group[a] if g == old else g for code, g in group.items()}
    for a, b in pairs:
        if (a, b) not in chosen and _along(chosen, a, b) > 2 * route_km(a, b):
            chosen.append((a, b))
    return [f"{a}-{b}" for a, b in chosen]


def _along(links: Sequence[tuple[str, str]], start: str, goal: str) -> float:
    """Kilometres over `links` (Bellman-Ford; there are a dozen)."""
    known = {start: 0.0}
    for _ in range(len(links)):
        for a, b in (*links, *((b, a) for a, b in links)):
            if a in known and known[a] + route_km(a, b) < known.get(b, float("inf")):
                known[b] = known[a] + route_km(a, b)
    return known[goal]


def _link(a: _Network, b: _Network, relationship: str, places: Sequence[str]) -> str:
    return f"  - {{a: {a.asn}, b: {b.asn}, relationship: {relationship}, at: [{', '.join(places)}]}}"


def _common(a: _Network, b: _Network) -> list[str]:
    return [code for code in a.cities if code in b.cities]


def _clique(networks: Sequence[_Network]) -> Iterator[str]:
    """Backbones swap routes, each two in up to three cities."""
    for a, b in combinations([n for n in networks if n.level == 0], 2):
        yield _link(a, b, "peer", _common(a, b)[:3])


def _purchases(dice: Random, networks: Sequence[_Network]) -> Iterator[str]:
    """Who buys from whom: regionals from two backbones, access networks from one to three networks that are near."""
    backbones = [n for n in networks if n.level == 0]
    regionals = [n for n in networks if n.level == 1]
    for network in networks:
        if network.level == 1:
            sellers = dice.sample(backbones, 2)
        elif network.level == 2:
            near = sorted(regionals, key=lambda seller: _nearest(network, seller)[1])[:4]
            sellers = dice.sample([*near, *dice.sample(backbones, min(2, len(backbones)))], 1)
            sellers += dice.sample(
                [n for n in near if n not in sellers], min(dice.choice((0, 1, 1, 2)), len(near) - (sellers[0] in near))
            )
        else:
            continue
        for seller in sellers:
            shared = _common(network, seller)
            yield _link(network, seller, "customer-provider", shared[:2] or [_nearest(network, seller)[0]])


def _nearest(buyer: _Network, seller: _Network) -> tuple[str, float]:
    """The shortest pair of their cities, as `at` writes it, and its length in km."""
    km, a, b = min((route_km(a, b), a, b) for a in buyer.cities for b in seller.cities)
    return (a if a == b else f"{a}-{b}"), km


def _meetings(dice: Random, networks: Sequence[_Network]) -> Iterator[str]:
    """Regional networks that share a city swap routes there, every second time."""
    for a, b in combinations([n for n in networks if n.level == 1], 2):
        shared = _common(a, b)
        if shared and dice.random() < 0.5:
            yield _link(a, b, "peer", shared[:1])


def _vantages(networks: Sequence[_Network], pops: int) -> Iterator[str]:
    """A host in access networks, all over the world: about two for each PoP."""
    access = [n for n in networks if n.level == 2]
    step = max(1, len(access) // (2 * pops + 4))
    for network in access[::step]:
        place = city(network.cities[0])
        yield (
            f"  - {{name: {place.code.lower()}-{network.asn}, city: {place.code}, asn: {network.asn}, km: "
            f"{network.asn % 7 * 50}}}"
        )


def _pops(dice: Random, networks: Sequence[_Network], count: int) -> Iterator[str]:
    """PoPs where most sellers are, one or two upstreams each. A continent is not taken twice before every other has
    had its turn.
    """
    sellers: dict[str, list[_Network]] = {}
    for network in networks:
        for code in network.cities if network.level < 2 else ():
            sellers.setdefault(code, []).append(network)
    ranked: list[tuple[int, int, str]] = []
    turns: dict[str, int] = {}
    for code in sorted(sellers, key=lambda code: (-len(sellers[code]), code)):
        continent = city(code).continent
        turns[continent] = turns.get(continent, 0) + 1
        ranked.append((turns[continent], -len(sellers[code]), code))
    chosen = [code for _, _, code in sorted(ranked)[:count]]
    if len(chosen) < count:
        raise Invalid.one(
            "pops",
            f"{count} PoPs need as many cities with a network to buy from; these have {len(chosen)}: use more ases",
        )
    for i, code in enumerate(chosen):
        upstreams = dice.sample(sellers[code], min(len(sellers[code]), dice.randint(1, 2)))
        rows = ", ".join(f"{{name: as{seller.asn}, asn: {seller.asn}}}" for seller in upstreams)
        yield f"    - city: {code}"
        yield f"      external4: 198.19.{i}.0/24"
        yield f'      external6: "2001:db8:b{i:02x}::/48"'
        yield f"      upstreams: [{rows}]"
