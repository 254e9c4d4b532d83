"""Files of measurements as people have them: each form is seen from its content, and says what of it is left out."""

import base64
import bz2
import gzip
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO
from ipaddress import ip_network
from pathlib import Path

import numpy as np
import pytest

from anypop.advice import history, plans
from anypop.advice.measurement_files import Beside, Found, read
from anypop.advice.measurement_formats import Format
from anypop.advice.measurements import identifier, networks_of_prefixes
from anypop.model.cities import city_of_pop
from anypop.model.errors import Invalid
from anypop.model.names import CityCode
from anypop.model.sessions import Announcements, Session
from anypop.routing.measured import traffic
from anypop.routing.measured.shares import calibrated

RECORDED = Path(__file__).parents[1] / "recorded" / "routes"
NETWORKS = networks_of_prefixes("192.0.2.0/24,7\n198.51.100.0/24,8\n2001:db8::/32,9\n", "p")
PLAN = Announcements(
    asn=64500,
    sessions=tuple(Session(pop=CityCode(p), upstream=f"as{n}", asn=n) for p, n in (("AMS", 1), ("LHR", 2), ("JFK", 2))),
)


def told(text: str | bytes, **beside: object) -> Found:
    data = text.encode() if isinstance(text, str) else text
    return read(BytesIO(data), "f", Beside(asn_of_prefix=NETWORKS, **beside))  # type: ignore[arg-type]


def landed(found: Found) -> list[tuple[int, str]]:
    return [(seen.asn, seen.pop) for seen in found.observations]


def test_verfploeter_s_table_becomes_one_observation_for_each_network() -> None:
    """Where most of its addresses landed; what answers something else than what was asked does not count."""
    head = (
        "task_id,client_id,receive_time,source_address,destination_address,meta_source_address,meta_destination_address"
    )
    ours = "203.0.113.1"
    rows = [
        f"1,gb-lhr-01,1700000000000000000,192.0.2.1,{ours},{ours},192.0.2.1",
        f"1,gb-lhr-01,1700000000000000000,192.0.2.2,{ours},{ours},192.0.2.2",
        f"1,us-jfk-01,1700000000000000000,3221225987,{ours},{ours},3221225987",
        f"1,us-jfk-01,1700000000000000000,198.51.100.9,{ours},{ours},198.51.100.8",
        f"1,us-jfk-01,1700000000000000000,10.0.0.1,{ours},{ours},10.0.0.1",
        f"1,br-gru-01,1700000000000000000,198.51.100.1,{ours},{ours},198.51.100.1",
    ]
    found = told("\n".join([head, *rows]), pops=("LHR", "JFK"))
    assert found.format is Format.VERFPLOETER and landed(found) == [(7, "LHR")]
    assert found.observations[0].at == 1.7e9 and found.observations[0].vantage == "2 of 3 addresses"
    assert len(found.notes) == 4 and any("br-gru-01" in note and "--map" in note for note in found.notes)


def test_the_table_of_its_successor_is_read_with_its_comments_and_packed() -> None:
    """Sites by a name that was said to mean one; both families; a table of traceroutes is refused."""
    text = "# Hitlist: x\nrx,addr,ttl\nnl-ams,192.0.2.1,50\nother,2001:db8::1,50\n"
    for data in (text.encode(), gzip.compress(text.encode()), bz2.compress(text.encode())):
        found = told(data, pops=("AMS",), meanings={"other": "LHR"})
        assert landed(found) == [(7, "AMS"), (9, "LHR")]
    with pytest.raises(Invalid, match="traceroutes"):
        told("rx,addr,ttl,tx,trace_dst,hop_count\n", pops=("AMS",))
    with pytest.raises(Invalid, match="f:4"):
        told("# c\nrx,addr,ttl\nnl-ams,192.0.2.1,50\nnl-ams,192.0.2,50\n", pops=("AMS",))
    with pytest.raises(Invalid, match="say which answers mean"):
        told(text)


def test_a_collector_s_table_pins_every_network_on_a_path() -> None:
    """By a community, or by our neighbour where one PoP alone announces to it; the rest is counted."""
    whole = (RECORDED / "collector-v4.mrt").read_bytes()
    plain = told(whole, prefix=ip_network("198.18.2.0/24"))
    assert plain.format is Format.MRT and plain.observations == ()
    assert plain.notes == (
        "3 routes do not tell in which PoP they were announced (--map COMMUNITY=POP, --map NEXTHOP=POP)",
    )
    by_community = told(whole, meanings={"64502:123": "LHR"})
    assert by_community.observations and {pop for _, pop in landed(by_community)} == {"LHR"}
    every = told(whole, meanings={"0.0.0.0/0": "AMS"}).observations
    assert {seen.vantage.split()[0] for seen in every} == {"collector"} and len({seen.asn for seen in every}) > 3
    with pytest.raises(Invalid, match="f: this is no whole MRT"):
        told(whole[:40])


def test_our_neighbour_in_a_path_tells_the_pop_where_one_alone_announces_to_it() -> None:
    """AS1 hears us in Amsterdam alone, AS2 in two places."""
    from anypop.model.route import Candidate  # noqa: PLC0415 - for this one
    from anypop.routing.measured import collectors  # noqa: PLC0415
    from anypop.routing.paste.pasted import PastedRoute  # noqa: PLC0415

    ours = ip_network("198.51.100.0/24")

    def route(*path: int) -> PastedRoute:
        return PastedRoute(
            candidate=Candidate(prefix=ours, as_path=path, local_pref=100, ebgp=True, neighbor="n"),
            line=1,
        )  # fmt: skip

    found = collectors.read(
        [route(30, 1, 64500, 64500), route(30, 2, 64500), route(40, 1, 64666), route(64500)],
        meanings={}, identify=lambda _: None, announced=PLAN,
    )  # fmt: skip
    assert [(seen.asn, seen.pop) for seen in found.observations] == [(30, "AMS"), (1, "AMS")]
    assert len(found.notes) == 2 and any("not of AS64500" in note for note in found.notes)


def test_atlas_tells_a_name_server_s_id_and_what_no_answer_means() -> None:
    """NSID in the packet; a date in a header is no PoP; a probe without a known network goes by its address."""
    header = bytes.fromhex("123484000000000000000001")
    nsid = b"\x00\x03" + len(b"ns1.lhr").to_bytes(2) + b"ns1.lhr"
    packet = header + b"\x00" + (41).to_bytes(2) + (4096).to_bytes(2) + b"\0\0\0\0" + len(nsid).to_bytes(2) + nsid
    results = [
        {"type": "dns", "prb_id": 1, "from": "192.0.2.5", "result": {"abuf": base64.b64encode(packet).decode()}},
        {"type": "http", "prb_id": 2, "result": [{"header": ["Date: Sat, 07 Mar 2026 01:00:00 GMT", "X-Pop: cdg"]}]},
        {"type": "dns", "prb_id": 3, "result": "timeout"},
    ]
    found = told(json.dumps(results), pops=("LHR", "SAT"))
    assert landed(found) == [(7, "LHR")]
    first = "1 answers name no PoP: 'X-Pop: cdg' (1); --map TEXT=POP says what one means"
    assert found.notes == (first, "1 results hold no answer")
    assert landed(told(json.dumps(results[0], indent=1), pops=("LHR",))) == [(7, "LHR")], "one result is no list"


def test_what_an_answer_means_is_never_a_part_of_another_name_or_address() -> None:
    """192.0.2.1 is not 192.0.2.17, `AMS-2` not `AMS`; the narrowest prefix counts."""
    means = identifier(("AMS", "AMS-2"), {"192.0.2.1": "LHR", "198.51.100.0/24": "JFK", "198.51.100.8/29": "LAX"})
    asked = ["192.0.2.1", "192.0.2.17", "198.51.100.77", "198.51.100.9", "web-ams-2", "ams2.x", "ams21", "ams3", "gams"]
    assert [means(text) for text in asked] == ["LHR", None, "JFK", "LAX", "AMS-2", "AMS-2", "AMS", "AMS", None]


def test_a_city_may_have_two_pops_in_plans_and_measurements() -> None:
    """They are called by the city's code and a label, and stand where the city is."""
    text = "asn: 1\nsessions: [{pop: ams, asn: 1299}, {pop: AMS-2, asn: 3356}]\n"
    plan = plans.read(text, "plan")
    assert plan.pops == ("AMS", "AMS-2") and plans.read(plans.write(plan), "plan") == plan
    assert landed(told("network,vantage,pop,time\n7,v,ams-2,0\n")) == [(7, "AMS-2")]
    assert city_of_pop("AMS-2") == city_of_pop("AMS") is not None
    for name in ("AMS-", "QQQ-2", "AMS-a", "AMS2", "-2"):
        assert city_of_pop(name) is None


def test_shares_of_pops_are_told_of_any_form_of_number() -> None:
    """Counts, percentages and parts; two names of one PoP are one; a row that is none is told with its line."""
    for text in (
        "site,queries\nnl-ams,30\nAMS,20\nLHR,50\n",
        "pop,share\nAMS,0.5\nLHR,0.5\n",
        "pop,share\nAMS,50 %\nLHR,50%\n",
    ):
        found = told(text, meanings={"nl-ams": "AMS"})
        assert found.format is Format.SHARES and dict(found.shares) == {"AMS": 0.5, "LHR": 0.5}
    with pytest.raises(Invalid) as caught:
        told("pop,share\nQQQ,1\nAMS,-1\nAMS\nLHR,1\n")
    assert [problem.path for problem in caught.value.problems] == ["f:2", "f:3", "f:4"]
    with pytest.raises(Invalid, match="above 0"):
        told("pop,share\nAMS,0\n")


def test_chances_agree_with_shares_and_what_is_known_stays() -> None:
    """The means by weight are the shares; who was sure to be elsewhere moves least."""
    rng = np.random.default_rng(4)
    chance = rng.dirichlet([1.0, 1.0, 1.0], 2000)
    weight = rng.random(2000)
    known = rng.random(2000) < 0.1
    chance[known] = np.eye(3)[rng.integers(0, 3, int(known.sum()))]
    shares = {"A": 0.6, "B": 0.3, "C": 0.1}
    found = calibrated(chance, pops=("A", "B", "C"), weight=weight, shares=shares, known=known)
    means = (found * weight[:, None]).sum(axis=0) / weight.sum()
    assert means == pytest.approx([0.6, 0.3, 0.1], abs=1e-4)
    assert found.sum(axis=1) == pytest.approx(1) and (found[known] == chance[known]).all()
    order = np.argsort(chance[~known, 0])
    assert (np.diff(found[~known, 0][order][::200]) > -0.2).all()


def test_a_history_keeps_shares_and_learns_from_them(tmp_path: Path) -> None:
    """Beside what was announced; told again they take the place of those before, and measurements stay."""
    seen = told("network,vantage,pop,time\n7,v,AMS,0\n").observations
    history.keep(tmp_path, PLAN, seen, now=1.0)
    history.keep(tmp_path, PLAN, (), now=2.0, shares={"AMS": 0.25, "LHR": 0.75})
    history.keep(tmp_path, PLAN, (), now=3.0, shares={"AMS": 0.5, "LHR": 0.5})
    (kept,) = history.read(tmp_path)
    assert dict(kept.shares) == {"AMS": 0.5, "LHR": 0.5} and len(kept.seen) == 1


def test_announcements_of_one_second_are_each_kept(tmp_path: Path) -> None:
    """By whoever keeps them, at once; what was measured under the first is not lost to the next."""
    seen = told("network,vantage,pop,time\n7,v,AMS,0\n").observations
    told_apart = [replace(PLAN, sessions=PLAN.sessions[: count + 1]) for count in range(len(PLAN.sessions))]
    with ThreadPoolExecutor(len(told_apart)) as pool:
        kept = list(pool.map(lambda plan: history.keep(tmp_path, plan, seen, now=1.0), told_apart))
    assert len({file for file, _ in kept}) == len(told_apart) > 1
    found = {one.announced: one.seen for one in history.read(tmp_path)}
    assert found == dict.fromkeys(told_apart, seen)


@pytest.mark.parametrize(
    "text", ["", "\n", "{", "[]", "pop,share", "rx,addr", "\x00\x01", "network,vantage,pop,time\n1,2"]
)
def test_no_file_crashes_the_reader(text: str) -> None:
    """Nothing is found in it, or it is refused with its place."""
    try:
        assert told(text, pops=("AMS",)).observations == ()
    except Invalid as error:
        assert all(problem.path.startswith("f") for problem in error.problems)
    with pytest.raises(Invalid):
        told(b"\xff\xfe\x00", pops=("AMS",))
    with pytest.raises(Invalid):
        told(b"\x1f\x8bnothing", pops=("AMS",))


def test_caida_s_table_of_prefixes_is_read_as_it_is() -> None:
    """With tabs; of several origins the first; the longest prefix around an address or a prefix counts."""
    networks = networks_of_prefixes(
        "1.0.0.0\t8\t10\n1.1.0.0\t16\t11_12\n1.1.1.0\t24\t13,14_15\n2001:db8::\t32\t16\n", "p"
    )
    asked = ["1.2.3.4", "1.1.2.3", "1.1.1.1", "1.1.1.0/24", "1.1.0.0/16", "2001:db8::1", "9.9.9.9", "x"]
    assert [networks(text) for text in asked] == [10, 11, 13, 13, 11, 16, None, None]


def test_traffic_becomes_one_observation_for_each_as() -> None:
    """Where most of its networks came in; one that came in at several PoPs counts at each, and is told."""
    landed = {
        "AMS": ["192.0.2.0/24", "2001:db8:1::/48", "9.9.9.0/24"],
        "LHR": ["198.51.100.0/24", "2001:db8:1::/48", "2001:db8:2::/48"],
    }
    found = traffic.read(landed, asn_of_prefix=NETWORKS, at=5.0)
    assert [(o.asn, o.pop, o.vantage, o.at) for o in found.observations] == [
        (7, "AMS", "traffic: 1 of 1 networks", 5.0),
        (8, "LHR", "traffic: 1 of 1 networks", 5.0),
        (9, "LHR", "traffic: 2 of 3 networks", 5.0),
    ]
    nameless, split, several = found.notes
    assert nameless.startswith("1 of the networks have no AS") and split.startswith("1 of the networks came in")
    assert several.startswith("1 AS landed in several PoPs")


def test_a_history_has_what_traffic_tells_once_beside_what_was_measured(tmp_path: Path) -> None:
    """Told again it takes the place of what it told before; another announcement of the same second has its own."""
    measured = told("network,vantage,pop,time\n7,v,AMS,0\n").observations
    history.keep(tmp_path, PLAN, measured, now=1.0)
    other = replace(PLAN, sessions=PLAN.sessions[:2])
    for landed in ({"AMS": ["192.0.2.0/24"]}, {"LHR": ["192.0.2.0/24", "198.51.100.0/24"]}):
        seen = traffic.read(landed, asn_of_prefix=NETWORKS, at=5.0).observations
        for plan in (PLAN, other):
            history.keep_traffic(tmp_path, plan, seen, begun=1.0)
    first, second = history.read(tmp_path)
    assert [(o.asn, o.pop) for o in first.seen] == [(7, "AMS"), (7, "LHR"), (8, "LHR")]
    assert [(o.asn, o.pop) for o in second.seen] == [(7, "LHR"), (8, "LHR")]
    assert history.same(second.announced, other) and history.same(first.announced, PLAN)


HEAD = "network,vantage,pop,time\n"
SHARES = "pop,share\n"
ZIP, XZ = b"PK\x03\x04" + bytes(60), b"\xfd7zXZ" + bytes(60)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("", "f: is empty"),
        ("\n \n", "f: is empty"),
        (ZIP, "packed by zip: unpack it"),
        (XZ, "packed by xz: unpack it"),
        ("network,v\n".encode("utf-16"), "save it as UTF-8"),
        ("<!DOCTYPE html>\n<p>sign in</p>\n", "f: is no CSV with the heading"),
        ("network;vantage;pop;time\n7;x;AMS;0\n", "f: is no CSV with the heading"),
        (HEAD + "99999999999,x,AMS,0\n0,x,AMS,0\n", "f:2: '99999999999' is no number of an AS"),
        (HEAD + "203.0.113.0/24,x,AMS,0\n", "--prefixes FILE tells it"),
        (HEAD + "7,x,AMS,-5\n", "neither ISO 8601"),
        ('{"error":{"detail":"Not found."}}', "an error of the API: Not found."),
        ("client_id,source_address,receive_time\nlhr,192.0.2.1\n", "f:2: is cut: 2 of 3 columns"),
        (SHARES + "AMS,40%\nLHR,0.6\n", "some shares with '%' and some without"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_what_to_do(data: str | bytes, words: str) -> None:
    """Once for the whole file where no line of it fits."""
    with pytest.raises(Invalid) as caught:
        told(data, pops=("AMS", "LHR"))
    assert words in str(caught.value) and len(caught.value.problems) < 3


def test_times_of_any_unit_and_zone_are_one_moment() -> None:
    """Thousandths of a second were no moment of any calendar, and ended the command."""
    rows = ("2026-01-01T01:00:00+01:00", "2026-01-01T00:00:00Z", "1767225600", "1767225600000", "1767225600000000")
    found = told(HEAD + "".join(f"7,x,AMS,{time}\n" for time in rows))
    assert {seen.at for seen in found.observations} == {1767225600.0}
    probe = {"type": "dns", "prb_id": 1, "from": "192.0.2.5", "result": {"answers": [{"RDATA": ["lhr"]}]}}
    for time in ("1e300", "NaN", "-1", "true"):
        text = f'[{json.dumps(probe)[:-1]}, "timestamp": {time}}}]'
        (seen,) = told(text, pops=("LHR",)).observations
        assert 0 <= seen.at <= 1e11, time


def test_results_that_tell_nothing_are_counted_by_why() -> None:
    """Pings, timeouts, a heading without a row: nothing was kept, and nothing was said."""
    results = [{"type": "ping", "prb_id": 3, "avg": 10}, {"type": "dns", "prb_id": 1, "result": {}}]
    found = told(json.dumps(results), pops=("LHR",))
    assert found.observations == () and any("of 'ping'" in note for note in found.notes)
    assert "1 results hold no answer" in found.notes
    for text in (HEAD, "[]", "client_id,source_address,receive_time\n"):
        assert told(text, pops=("LHR",)).notes == ("no measurement is in it",)


def test_pops_that_announced_nothing_by_the_plan_are_named() -> None:
    """Shares or landings of another announcement, kept beside this one, would teach what is not so."""
    for text in (HEAD + "7,x,AMS,0\n7,x,SYD,0\n", SHARES + "AMS,40\nSYD,60\n"):
        (note,) = told(text, announced=PLAN).notes
        assert note.startswith("SYD announced nothing by the plan (AMS, JFK, LHR did)")
    assert told(HEAD + "7,x,AMS,0\n", announced=PLAN).notes == ()
