"""What collectors hold: MRT as a BIRD wrote it, the same as bgpdump prints it in both forms, and RIPEstat's looking
glass.
"""

import bz2
import gzip
import json
import signal
import sys
from io import BytesIO
from ipaddress import ip_network
from pathlib import Path

import pytest

from anypop.model.errors import Invalid
from anypop.model.scopes import community_text
from anypop.routing.paste import mrt, sentences
from anypop.routing.paste.explained import explain, upstreams
from anypop.routing.paste.pasted import Pasted, Style
from anypop.routing.paste.read import read
from tests.cli_calls import Caller
from tests.recorded.routes.scenes import SCENES, address, prefix

HERE = Path(__file__).parents[1] / "recorded" / "routes"


def held(pasted: Pasted, version: int) -> dict[str, set[tuple[object, ...]]]:
    """What is held of each scene: path, MED, local preference, origin, neighbour."""
    found: dict[str, set[tuple[object, ...]]] = {scene.name: set() for scene in SCENES}
    names = {ip_network(str(prefix(scene, version))): scene.name for scene in SCENES}
    for route in pasted.routes:
        c = route.candidate
        if c.prefix in names:
            found[names[c.prefix]].add((c.as_path, c.med, c.local_pref, c.origin.value, c.neighbor))
    return found


def made(version: int) -> dict[str, set[tuple[object, ...]]]:
    """The same as the routes were made."""
    return {
        scene.name: {
            (
                r.as_path,
                r.med or 0,
                100 if r.local_pref is None else r.local_pref,
                "incomplete" if r.origin == "INCOMPLETE" else r.origin,
                address(r.peer, version),
            )
            for r in scene.routes
        }
        for scene in SCENES
    }


@pytest.mark.parametrize("version", [4, 6])
def test_mrt_is_read_as_its_routes_were_made(version: int) -> None:
    """Every attribute, in both families; communities too."""
    pasted = mrt.read(BytesIO((HERE / f"collector-v{version}.mrt").read_bytes()))
    assert held(pasted, version) == made(version) and pasted.style is Style.COLLECTOR
    told = {c for route in pasted.routes for c in route.candidate.communities}
    assert told == {(64502, 123), (65535, 65281)}


@pytest.mark.parametrize(("form", "version"), [("line", 4), ("long", 6)])
def test_bgpdump_s_text_is_read_as_its_routes_were_made(form: str, version: int) -> None:
    """With -m, and without."""
    pasted = read((HERE / f"collector-v{version}.{form}").read_text())
    assert held(pasted, version) == made(version) and pasted.style is Style.COLLECTOR


def test_no_route_of_a_collector_is_called_the_best() -> None:
    """Each is another router's choice; which upstreams are seen is told all the same."""
    pasted = mrt.read(BytesIO((HERE / "collector-v4.mrt").read_bytes()), ip_network("198.18.2.0/24"))
    (found,) = explain(pasted)
    assert found.best is None and found.move is None and len(found.outcomes) == 3
    assert "none of them is the best of all" in "\n".join(sentences.sentences(found))
    assert sum(upstreams(found).values()) == 3


@pytest.mark.parametrize("version", [4, 6])
def test_what_a_table_says_of_one_prefix_is_what_it_says_of_it_among_all(version: int) -> None:
    """For every prefix in it; records of other prefixes are not taken apart, so that a whole table is soon read."""
    whole = (HERE / f"collector-v{version}.mrt").read_bytes()
    every = mrt.read(BytesIO(whole)).routes
    prefixes = {route.candidate.prefix for route in every}
    assert len(prefixes) > 1
    for one in prefixes:
        alone = mrt.read(BytesIO(whole), one).routes
        assert [r.candidate for r in alone] == [r.candidate for r in every if r.candidate.prefix == one]
    with pytest.raises(Invalid, match="no route to"):
        mrt.read(BytesIO(whole), min(prefixes).supernet())


def test_reading_mrt_leaves_signals_as_they_are() -> None:
    """The parser would let a closed pipe end the process that has it loaded."""
    sys.modules.pop("mrtparse", None)
    mrt.read(BytesIO((HERE / "collector-v4.mrt").read_bytes()))
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


def test_extended_communities_of_a_table_are_read_in_the_form_of_all_others() -> None:
    """A route target, and one without a name, as their octets stand in RFC 4360."""
    attributes = b"\x40\x01\x01\x00" + b"\x40\x02\x06\x02\x01" + (64520).to_bytes(4)
    attributes += b"\x40\x03\x04\xc0\x00\x02\x01"
    attributes += b"\xc0\x10\x10" + bytes.fromhex("0002fbf60000004643060000deadbeef")
    peers = b"\x0a\x63\x00\x01" + b"\x00\x00" + b"\x00\x01" + b"\x02" + b"\x0a\x63\x00\x02" * 2
    peers += (64502).to_bytes(4)
    entry = b"\x00\x00" + (1700000000).to_bytes(4) + len(attributes).to_bytes(2) + attributes
    rib = (0).to_bytes(4) + b"\x18\xc6\x12\x00" + b"\x00\x01" + entry
    table = b"".join(
        (1700000000).to_bytes(4) + (13).to_bytes(2) + kind.to_bytes(2) + len(body).to_bytes(4) + body
        for kind, body in ((1, peers), (2, rib))
    )
    (route,) = mrt.read(BytesIO(table)).routes
    found = [community_text(c) for c in route.candidate.extended_communities]
    assert found == ["rt:64502:70", "generic:0x43060000:0xdeadbeef"]


def test_damaged_mrt_is_refused_or_read_in_part_never_else() -> None:
    """Cut anywhere, or with any octet changed."""
    whole = (HERE / "collector-v4.mrt").read_bytes()
    for at in range(0, len(whole), 7):
        for broken in (whole[:at], whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :]):
            for only in (None, ip_network("198.18.2.0/24")):
                try:
                    mrt.read(BytesIO(broken), only)
                except Invalid as error:
                    assert error.problems


def test_the_command_reads_mrt_plain_and_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one prefix of it; a prefix that is not in it, or is none, is the user's error."""
    caller = Caller(tmp_path, None, monkeypatch)
    whole = (HERE / "collector-v4.mrt").read_bytes()
    for name, octets in (("a.mrt", whole), ("a.gz", gzip.compress(whole)), ("a.bz2", bz2.compress(whole))):
        (tmp_path / name).write_bytes(octets)
        ran = caller("route", "explain", "--file", str(tmp_path / name), "--prefix", "198.18.2.0/24", "-o", "json")
        (found,) = json.loads(ran.out)
        assert (found["style"], found["prefix"], len(found["candidates"])) == ("collector", "198.18.2.0/24", 3)
    for wrong in ("192.0.2.0/24", "192.0.2.0/99"):
        assert caller("route", "explain", "--file", str(tmp_path / "a.mrt"), "--prefix", wrong).code == 2


GLASS = {
    "data": {
        "rrcs": [
            {
                "rrc": "RRC00",
                "location": "Amsterdam, Netherlands",
                "peers": [
                    {
                        "asn_origin": "64520",
                        "as_path": "64501 64511 64520",
                        "community": "64501:100, 64511:7",
                        "last_updated": "2026-11-24T10:00:00",
                        "prefix": "203.0.113.0/24",
                        "peer": "192.0.2.1",
                        "origin": "IGP",
                        "next_hop": "192.0.2.1",
                        "latest_time": "2026-11-25T10:00:00",
                    },
                    {
                        "asn_origin": "64520",
                        "as_path": "64502 64512 64520 64520",
                        "community": "",
                        "last_updated": "2026-11-23T10:00:00",
                        "prefix": "203.0.113.0/24",
                        "peer": "192.0.2.2",
                        "origin": "Incomplete",
                        "next_hop": "192.0.2.2",
                        "latest_time": "2026-11-25T10:00:00",
                    },
                ],
            }
        ]
    }
}


def test_ripestat_s_looking_glass_tells_upstreams() -> None:
    """Two peers see the prefix through two of our upstreams."""
    (found,) = explain(read(json.dumps(GLASS)))
    assert dict(upstreams(found)) == {64511: 1, 64512: 1} and found.best is None and found.asn == 64520
    first = found.outcomes[0].route.candidate
    assert (first.neighbor, first.communities) == ("192.0.2.1", ((64501, 100), (64511, 7)))
