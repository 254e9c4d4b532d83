"""What pages are made of, without any page: the form's document, the map, states in words, signs of forms."""

import asyncio
import base64
import shlex
from collections import Counter

import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from anypop.model.names import CityCode
from anypop.picture import world as picture
from anypop.plan.fields import location
from anypop.portal import cookies, declaring, planned_landings, summary, words, world
from anypop.portal.calls import Api, Asker, Refused, _parts
from anypop.portal.terraform import as_terraform
from anypop.portal.visit import Form, back_to

SIZES = [
    {"name": "SP-1", "cpuMillis": 1000, "memoryBytes": 2 << 30, "hourly": 0.045},
    {"name": "half", "cpuMillis": 500, "memoryBytes": 512 << 20, "hourly": 0.02},
]
CONTINENTS = {"AMS": "EU", "LHR": "EU", "FRA": "EU", "JFK": "NA"}


def a_wish(*more: tuple[str, str], **fields: str) -> declaring.Wish:
    return declaring.wish(Form([*{"name": "web", "image": "r/web:1", "size": "SP-1", **fields}.items(), *more]))


def cities(**counts: str) -> list[tuple[str, str]]:
    return [pair for city, count in counts.items() for pair in (("city", city), (f"replicas-{city}", count))]


def test_cities_of_one_continent_with_one_number_are_a_target() -> None:
    wish = a_wish(*cities(AMS="2", JFK="2", LHR="2", FRA="1"))
    assert declaring.targets(wish, CONTINENTS) == [
        ("eu1", ["AMS", "LHR"], 2), ("na1", ["JFK"], 2), ("eu2", ["FRA"], 1),
    ]  # fmt: skip
    made = declaring.document(wish, SIZES, CONTINENTS)
    assert made["targets"]["eu2"]["spec"]["deployments"] == {
        "minReplicas": 1, "selectors": [{"key": "cityCode", "operator": "in", "values": ["FRA"]}],
    }  # fmt: skip
    assert "apply -f web.yaml" in declaring.as_command(wish, CONTINENTS), "no one line can say it"


def test_a_form_becomes_a_document() -> None:
    wish = a_wish(*cities(AMS="1"), ports="80, 53/udp 80", env="A=1\n\n B = x=y ", secrets="S=hunter2", size="half")
    made = declaring.document(wish, SIZES, CONTINENTS)["spec"]["containers"]["app"]
    assert not wish.wrong and made["resources"]["requests"] == {"cpu": "500m", "memory": "512Mi"}
    assert [(p["port"], p["protocol"]) for p in made["ports"].values()] == [(80, "TCP"), (53, "UDP")]
    assert made["env"] == {"A": {"value": "1"}, "B": {"value": "x=y"}, "S": {"secretValue": "hunter2"}}


def test_a_virtual_machine_is_declared_as_one() -> None:
    """With its own fields, and none of a container's, whatever stands in those that are not shown."""
    more = {"machine-image": "fun/debian:12", "user-data": "#!/bin/sh\r\nid\r\n", "ssh-keys": "\nssh-ed25519 A a\n"}
    wish = a_wish(*cities(AMS="1"), *more.items(), kind="machine", env="no sign", secrets="S=hunter2", size="half")
    document = declaring.document(wish, SIZES, CONTINENTS)
    assert not wish.wrong and "containers" not in document["spec"]
    made = document["spec"]["virtualMachines"]["app"]
    assert made.keys() == {"image", "resources", "userData", "sshKeys"} and made["image"] == "fun/debian:12"
    assert base64.b64decode(made["userData"]) == b"#!/bin/sh\nid\n" and made["sshKeys"] == ["ssh-ed25519 A a"]
    line = declaring.as_command(wish, CONTINENTS)
    assert "--vm-image fun/debian:12" in line and "--ssh-key key-1.pub" in line and "--user-data" in line
    assert "virtual_machine {" in as_terraform(document) and made["userData"] in as_terraform(document)


def test_what_cannot_be_read_is_told_by_its_field_without_a_secret() -> None:
    wish = a_wish(*cities(AMS="0"), ports="80 http 70000", env="no sign", secrets="hunter2")
    assert wish.wrong.keys() == {"ports", "env", "secrets", "city"}
    assert "hunter2" not in str(wish.wrong)


def test_no_secret_is_shown_and_no_word_leaves_its_quotes() -> None:
    evil = "x'; rm -rf / #"
    wish = a_wish(*cities(AMS="1"), image=evil, env=f"A={evil}", secrets="S=hunter2")
    made = declaring.document(wish, SIZES, CONTINENTS)
    call = declaring.as_call(made, host="control:8443", stack="default")
    line = declaring.as_command(wish, CONTINENTS)
    for text in (call, line, declaring.as_yaml(made)):
        assert "hunter2" not in text
    parts = shlex.split(line.replace("\\\n", " "))
    assert parts[parts.index("--image") + 1] == evil and f"A={evil}" in parts and "rm" not in parts
    assert shlex.split(call.replace("\\\n", " "))[1] == "https://control:8443/workload/v1/stacks/default/workloads"
    assert made["spec"]["containers"]["app"]["env"]["S"] == {"secretValue": "hunter2"}, "the document itself has it"


@pytest.mark.parametrize(
    ("latitude", "longitude", "x", "y"),
    [
        (0, 0, 480, 262), (51.47, -0.4543, 479.0, 103.8), (-33.9461, 151.177, 859.9, 366.8),
        (40.6398, -73.7789, 299.5, 136.5),
    ],
)  # fmt: skip
def test_a_city_stands_where_the_coastlines_are(latitude: float, longitude: float, x: float, y: float) -> None:
    """The figures are of d3-geo, which draws the coastlines: geoNaturalEarth1().scale(175).translate([480, 262])."""
    assert picture.place(latitude, longitude) == pytest.approx((x, y), abs=0.11)


ROWS = ("IAD JFK ORD ATL MIA DFW DEN SEA LAX SJC YYZ", "AMS LHR FRA WAW MAD ARN CDG", "SIN GRU MEL NRT HKG")


def test_names_on_the_map_cover_neither_each_other_nor_a_city() -> None:
    codes = [code for row in ROWS for code in row.split()]
    marks = world.marks(location(CityCode(code)) for code in codes)
    assert [m.code for m in marks] == codes
    boxes = []
    for mark in (m for m in marks if m.named):
        wide = picture.LETTER * len(mark.code)
        left = {"start": mark.text_x, "end": mark.text_x - wide, "middle": mark.text_x - wide / 2}[mark.anchor]
        boxes.append((left + 1, mark.text_y - 9, left + wide - 1, mark.text_y))
    assert len(boxes) > 18
    for number, a in enumerate(boxes):
        assert not any(picture._cover(a, b) for b in boxes[:number])
    assert world.marks([{"cityCode": "LAB"}]) == (), "a city of a lab has no place on earth"


def test_a_workload_is_told_as_well_only_when_all_of_it_is() -> None:
    def seen(*phases: str, ill: int = 0) -> str:
        return summary.glance({"phases": Counter(phases), "healthy": phases.count("RUNNING") - ill}).word

    assert seen("RUNNING", "RUNNING") == "Running"
    assert seen("RUNNING", "STARTING") == "Starting"
    assert seen("RUNNING", "RUNNING", ill=1) == seen("RUNNING", "STARTING", ill=1) == "Not healthy"
    assert seen("RUNNING", "STARTING", "FAILED") == "Failing"
    assert seen("RUNNING", "INSTANCE_PHASE_UNSPECIFIED") == seen("RUNNING", "") == "Unknown"
    silent = {"phase": "RUNNING", "healthy": False, "reason": "family-silent"}
    assert words.standing(silent) == words.standing({"phase": "RUNNING"}) == words.NOT_HEALTHY
    assert words.standing({"phase": "RUNNING", "healthy": True}) == ("Running", "good")
    assert words.standing({**silent, "reason": "rescued"})[1] == "way", "somebody asked for it"
    assert words.standing({"phase": "STARTING", "healthy": False}) == ("Starting", "way")
    assert seen() == "No instances" and words.state("something new") == ("Unknown", "off")


def test_a_pops_part_of_now_is_what_a_plan_leaves_it_with_who_moves_taken_back() -> None:
    moves = [{"from": "LHR", "to": "AMS", "weight": 0.3}, {"from": "AMS", "to": None, "weight": 0.1}]
    shares = [{"name": name, "weight": weight, "extra_km": 1.0} for name, weight in (("AMS", 0.9), (None, 0.1))]
    found = planned_landings.parts({"by_pop": shares, "change": {"moves": moves}, "carried_to": {"AMS": "FRA"}})
    assert [(p.pop, round(p.now, 6), p.then) for p in found] == [("AMS", 0.7, 0.9), ("", 0.0, 0.1), ("LHR", 0.3, 0.0)]
    assert [p.answered for p in found] == ["FRA", "", ""]


def test_money_is_told_to_the_digit_that_counts() -> None:
    assert [words.hourly(x) for x in (0.86, 0.045, 2.8, 1.696, 0)] == ["0.86", "0.045", "2.80", "1.696", "0.00"]
    assert words.monthly(1627.8) == "1,627.80"


def test_a_sign_fits_its_secret_alone() -> None:
    sign = cookies.sign_for("one")
    assert cookies.fits("one", sign) and sign != cookies.sign_for("one")
    for secret, other in (
        ("two", sign),
        ("", sign),
        ("one", ""),
        ("one", "x"),
        ("one", "é.é"),
        ("", cookies.sign_for("")),
    ):
        assert not cookies.fits(secret, other)


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({}, True), ({"origin": "https://control:8443"}, True), ({"origin": "https://evil.example"}, False),
        ({"origin": "null"}, False), ({"sec-fetch-site": "same-origin"}, True), ({"sec-fetch-site": "none"}, False),
        ({"sec-fetch-site": "same-site"}, False), ({"origin": "https://control:8443.evil.example"}, False),
    ],
)  # fmt: skip
def test_who_sent_a_form_is_asked_of_the_browser(headers: dict[str, str], ours: bool) -> None:
    raw = [(k.encode(), v.encode()) for k, v in {"host": "control:8443", **headers}.items()]
    assert cookies.from_here(Request({"type": "http", "headers": raw})) is ours


def test_no_name_leads_to_another_path_of_the_api() -> None:
    for wrong in ("", ".", "..", "a/b", "/", "../x"):
        with pytest.raises(Refused):
            _parts(("workload/v1/stacks", "default", "workloads", wrong))
    assert _parts(("a/b", "c d", "..e")) == ("a", "b", "c d", "..e")


def test_one_goes_back_to_a_page_of_the_portal_or_to_the_first() -> None:
    assert back_to("/portal/stacks/a/workloads?q=1") == "/portal/stacks/a/workloads?q=1"
    for wrong in (
        "",
        "/",
        "/portal",
        "//evil/portal/",
        "https://evil/portal/",
        "/portal/\\evil",
        "/portal/sign-in/link",
    ):
        assert back_to(wrong) == "/portal/"


def test_a_stream_that_nobody_reads_on_ends_at_once() -> None:
    """Also while more has come than was taken: its sender waits for no room that nobody makes."""

    async def api(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"event: a\ndata: {}\n\n", "more_body": True})

    async def story() -> None:
        events = Api(app=api, asker=Asker(client=None, server=None)).events("stream")
        for _ in range(3):
            assert (await anext(events)).name == "a"
            await asyncio.sleep(0)  # the sender's turn: it fills what room there is
        async with asyncio.timeout(10) as limit:
            await events.aclose()  # type: ignore[attr-defined]
        assert not limit.expired()

    asyncio.run(story())
