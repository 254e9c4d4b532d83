"""A workload changed, compared, undone in the portal: forms and parts of pages, without a browser."""

import html
import re
from base64 import b64decode, b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

import pytest

from anypop.control.roles import Role
from anypop.model.machine import Acceleration
from tests.contract.test_machine_images import brought
from tests.contract.test_portal import Visitor
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick

BASE = "/workload/v1/stacks/default/workloads"
ONE = "/portal/stacks/default/workloads/web"
LINES = "first\nsecond"
NASTY = "<b onclick=alert(1)>'\""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("changing")) as made:
        quick(made)
        own = made.platform.accounts.first_account().id
        for name, role in (("ada", Role.OWNER), ("vic", Role.VIEWER)):
            a_user(made, own, name, role, PASSWORD)
        city = {"valueFrom": {"instanceFieldRef": {"fieldPath": ".location.cityCode"}}}
        env = {
            "A": {"value": "1"}, "TOKEN": {"secretValue": "hush-1"}, "CITY": city, "PEM": {"value": LINES},
            "EVIL": {"value": NASTY},
        }  # fmt: skip
        made.create("web", env=env)
        made.settle()
        yield made


@pytest.fixture(scope="module")
def ada(world: World) -> Visitor:
    return Visitor(world).sign_in("ada")


def declared(world: World) -> Any:
    return world.get(f"{BASE}/web")["workload"]


def env_of(world: World) -> Any:
    return declared(world)["spec"]["containers"]["web"]["env"]


def fields(world: World, **more: str) -> dict[str, Any]:
    """The form as it would be sent untouched."""
    env = "\n".join(f"{k}={v['value']}" for k, v in env_of(world).items() if "value" in v and "\n" not in v["value"])
    image = declared(world)["spec"]["containers"]["web"]["image"]
    version = declared(world)["metadata"]["version"]
    return {"version": version, "image:web": image, "env:web": env, "replicas:eu": "2", **more}


def test_a_form_that_is_sent_as_it_came_changes_nothing(world: World, ada: Visitor) -> None:
    """It shows no secret, and what it does not show stays: secrets, values of the instance, values of several lines."""
    page = ada.get(f"{ONE}/change")
    assert "hush" not in page and LINES not in page and NASTY not in page and "&lt;b onclick" in page
    assert re.findall(r'name="drop:web" value="(\w+)"', page) == ["TOKEN", "CITY", "PEM"]
    before = declared(world)
    planned = ada.ask("POST", f"{ONE}/change/plan", **fields(world))
    assert planned.status_code == 200 and "Nothing would change" in planned.text, planned.text
    assert declared(world) == before


def test_the_plan_has_differences_waves_and_price_and_makes_nothing(world: World, ada: Visitor) -> None:
    ada.get(f"{ONE}/change")
    before = world.state.workloads
    sent = fields(world, **{"image:web": "r/web:2", "env:web": f"A=2\nEVIL={NASTY}", "secrets:web": "TOKEN=hush-2"})
    told = ada.ask("POST", f"{ONE}/change/plan", **sent | {"replicas:eu": "3"}).text
    assert "spec.containers.web.image" in told and "r/web:2" in told and "a secret, which differs" in told
    assert "hush" not in told and "4 instances made anew, city by city: AMS, then LHR" in told
    assert "2 more would start" in told and "more than now" in told
    assert world.state.workloads == before


def test_what_cannot_be_read_is_told_all_at_once_and_changes_nothing(world: World, ada: Visitor) -> None:
    ada.get(f"{ONE}/change")
    before = world.state.workloads
    for path in ("change/plan", "change"):
        told = ada.ask("POST", f"{ONE}/{path}", **fields(world, **{"env:web": "no sign", "replicas:eu": "many"}))
        assert "containers.web.env" in told.text and "targets.eu" in told.text
        assert told.status_code == (400 if path == "change" else 200)
    told = ada.ask("POST", f"{ONE}/change", **fields(world, **{"image:web": ""}))
    assert told.status_code == 400 and "image" in told.text, "as the API says it"
    assert world.state.workloads == before


def test_a_change_is_declared_can_be_steered_and_undone(world: World, ada: Visitor) -> None:
    """Pause, resume and undo by their buttons; the second of two who change at once is refused."""
    ada.get(f"{ONE}/change")
    old = fields(world)
    answer = ada.ask(
        "POST", f"{ONE}/change", **old | {"image:web": "r/web:2", "secrets:web": "NEW=hush-3", "drop:web": "CITY"}
    )
    assert answer.headers["location"] == f"{ONE}?done=changed&revision=1", answer.text
    assert env_of(world).keys() == {"A", "TOKEN", "PEM", "EVIL", "NEW"} and env_of(world)["PEM"]["value"] == LINES
    secrets = {s.path: s.value for s in next(iter(world.state.workloads.values())).secrets}
    assert sorted(secrets.values()) == ["hush-1", "hush-3"], "what was not given anew is as it was"
    assert ada.ask("POST", f"{ONE}/change", **old).status_code == 409

    page = ada.get(f"{ONE}?done=changed&revision=1")
    assert ">Undo<" in page and "of 4 on revision 2" in page
    (identity,) = re.findall(r'value="pause:([^"]+)"', page)
    for act, phase in (("pause", "paused"), ("resume", "running")):
        answer = ada.ask("POST", f"{ONE}/rollout", act=f"{act}:{identity}")
        assert answer.status_code == 303 and phase in ada.get(ONE)
    for wrong in ("", "pause:", "pause:nothing", f"end:{identity}", "pause:../../rollback"):
        assert ada.ask("POST", f"{ONE}/rollout", act=wrong).status_code in (400, 404), wrong
    answer = ada.ask("POST", f"{ONE}/rollout", act=f"abort:{identity}")
    assert answer.headers["location"] == f"{ONE}?done=aborted"
    world.settle()


def test_what_was_done_is_undone_by_one_button(world: World, ada: Visitor) -> None:
    """A revision's content comes back by the revision, numbers of instances by themselves, both together too."""

    def now() -> tuple[str, int]:
        found = declared(world)
        return found["spec"]["containers"]["web"]["image"], found["targets"]["eu"]["spec"]["deployments"]["minReplicas"]

    def undo(location: str) -> None:
        assert ">Undo<" in ada.get(location)
        way: dict[str, Any] = dict(pair.split("=") for pair in unquote(location).partition("?")[2].split("&"))
        way.pop("done")
        answer = ada.ask("POST", f"{ONE}/undo", **way)
        assert answer.headers["location"] == f"{ONE}?done=undone", answer.text

    was = now()
    answer = ada.ask("POST", f"{ONE}/scale", **fields(world, **{"replicas-eu": "1"}))
    assert now() == (was[0], 1)
    undo(answer.headers["location"])
    assert now() == was
    ada.get(f"{ONE}/change")
    answer = ada.ask("POST", f"{ONE}/change", **fields(world, **{"image:web": "r/web:9", "replicas:eu": "1"}))
    assert now() == ("r/web:9", 1)
    undo(answer.headers["location"])
    assert now() == was
    before = world.state.workloads
    for forged in ("revision=99", "revision=0", "revision=<b>", "revision=-1", "replicas=no:1", "replicas=eu:<b>"):
        assert ">Undo<" not in ada.get(f"{ONE}?done=scaled&{forged}"), forged
    wrong: tuple[dict[str, Any], ...] = ({"replicas": "no:1"}, {"replicas": "eu:x"}, {"revision": "99"})
    for form in wrong:
        assert ada.ask("POST", f"{ONE}/undo", **form).status_code in (400, 404), form
    assert world.state.workloads == before


def test_ports_sizes_and_cities_are_changed_with_their_plan_and_price(world: World, ada: Visitor) -> None:
    """A port that stays keeps its name; what is chosen costs what the plan said; a city goes and another comes."""
    page = ada.get(f"{ONE}/change")
    assert 'name="ports:web" value="80"' in page and 'name="cities:eu" value="AMS LHR"' in page and "JFK" in page
    size = world.get("/anypop/v1/prices")["sizes"][0]
    new = {"ports:web": "80, 53/udp", "size:web": size["name"], "cities:eu": "ams, jfk"}
    before = declared(world)
    planned = ada.ask("POST", f"{ONE}/change/plan", **fields(world, **new)).text
    assert "would start" in planned and "-jfk-0" in planned and "-lhr-0" in planned and "less than now" in planned
    assert declared(world) == before
    answer = ada.ask("POST", f"{ONE}/change", **fields(world, **new))
    assert answer.headers["location"] == f"{ONE}?done=changed", "no button brings cities back"
    found = declared(world)
    container = found["spec"]["containers"]["web"]
    assert container["ports"].keys() == {"http", "port-53-udp"} and container["ports"]["http"]["port"] == 80
    assert container["resources"]["requests"] != before["spec"]["containers"]["web"]["resources"]["requests"]
    (selector,) = found["targets"]["eu"]["spec"]["deployments"]["selectors"]
    assert selector["values"] == ["AMS", "JFK"]
    ada.get(f"{ONE}/change")
    wrong = fields(world, **{"ports:web": "http", "cities:eu": " ", "size:web": "none"})
    told = ada.ask("POST", f"{ONE}/change/plan", **wrong).text
    assert all(word in told for word in ("from 1 to 65535", "at least one city", "no such size")), told
    assert "XXX" in ada.ask("POST", f"{ONE}/change/plan", **fields(world, **{"cities:eu": "AMS XXX"})).text
    world.settle()


def test_a_target_more_is_planned_priced_and_made(world: World, ada: Visitor) -> None:
    """Without a name it is called after its continent; what is there already, or says nothing, is told by its name."""
    ada.get(f"{ONE}/change")
    before = declared(world)
    new = {"new-cities": "lax", "new-replicas": "2"}
    planned = ada.ask("POST", f"{ONE}/change/plan", **fields(world, **new)).text
    assert "web-na1-lax-0" in planned and "2 more would start" in planned and "more than now" in planned
    for wrong, told in (
        ({"new-name": "eu"}, "is there already"), ({"new-replicas": "many"}, "how many instances"),
        ({"new-name": "us", "new-cities": ""}, "at least one city"), ({"new-cities": "XXX"}, "XXX"),
    ):  # fmt: skip
        assert told in ada.ask("POST", f"{ONE}/change/plan", **fields(world, **new | wrong)).text, wrong
    assert declared(world) == before
    answer = ada.ask("POST", f"{ONE}/change", **fields(world, **new))
    assert answer.headers["location"] == f"{ONE}?done=changed", "no button takes it away again"
    found = declared(world)["targets"]
    assert found.keys() == {"eu", "na1"} and found["eu"] == before["targets"]["eu"]
    deployments = found["na1"]["spec"]["deployments"]
    assert (deployments["minReplicas"], deployments["selectors"][0]["values"]) == (2, ["LAX"])
    assert 'name="cities:na1" value="LAX"' in ada.get(f"{ONE}/change")
    world.settle()


def test_a_target_is_taken_away_on_a_page_that_says_first_what_goes_and_what_it_costs(
    world: World, ada: Visitor
) -> None:
    """Without a script. Nothing else changes with it; who was slower than somebody else is refused, and a target that
    is not there is nobody's page.
    """
    at = f"{ONE}/targets/na1/remove"
    assert f'href="{at}"' in ada.get(f"{ONE}/change")
    before = declared(world)
    page = ada.get(at)
    assert "2 instances would go: web-na1-lax-0, web-na1-lax-1" in page and "less than now" in page, page
    assert "<script" not in page.partition("<main")[2]
    assert declared(world) == before, "a page changes nothing"
    (version,) = re.findall(r'name="version" value="(\d+)"', page)
    assert ada.ask("POST", at, version="1").status_code == 409 and ada.ask("POST", at).status_code == 400
    assert declared(world) == before
    for wrong in ("none", "../na1", "%3Cb%3E"):
        assert ada.ask("GET", f"{ONE}/targets/{wrong}/remove").status_code == 404, wrong
    answer = ada.ask("POST", at, version=version)
    assert answer.headers["location"] == f"{ONE}?done=taken-away", answer.text
    assert "no longer declared" in ada.get(f"{ONE}?done=taken-away")
    found = declared(world)
    assert found["targets"] == {"eu": before["targets"]["eu"]} and found["spec"] == before["spec"]
    assert ada.ask("GET", at).status_code == 404, "it is gone"
    last = ada.ask("GET", f"{ONE}/targets/eu/remove")
    assert last.status_code == 400 and "targets" in last.text and "Take eu away</button>" not in last.text
    assert "/remove" not in ada.get(f"{ONE}/change"), "a workload has one at least"
    world.settle()
    assert not [p for p in world.state.incarnations.values() if "-na1-" in p.incarnation.name]


def test_a_virtual_machine_is_changed_by_fields_of_its_own(world: World, ada: Visitor) -> None:
    """User data and keys where a container has an environment. A form that is sent as it came changes nothing, however
    a browser ends lines; what is no text is left alone.
    """
    for tag in (1, 2):
        brought(world, f"debian/{tag}")
    world.platform.machine_images.stop()
    said, key = "#!/bin/sh\n\necho \u00e9\n", "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ3Yw me@example"
    body = world.body("vm", cities=("AMS",), replicas=1, anycast=False)
    unit = body["workload"]["spec"].pop("containers")["web"]
    unit |= {"image": "default/debian:1", "userData": b64encode(said.encode()).decode(), "sshKeys": [key]}
    body["workload"]["spec"]["virtualMachines"] = {"vm": unit}
    world.send("POST", BASE, body)
    at = f"{ONE.removesuffix('web')}vm"
    page = ada.get(f"{at}/change")
    assert "<option selected>default/debian:1" in page and "<option>default/debian:2" in page
    assert said in html.unescape(page) and key in page and 'name="env:' not in page and 'name="secrets:' not in page

    def vm() -> Any:
        return world.get(f"{BASE}/vm")["workload"]["spec"]["virtualMachines"]["vm"]

    def sent(**more: str) -> dict[str, Any]:
        version = world.get(f"{BASE}/vm")["workload"]["metadata"]["version"]
        plain = {"image:vm": "default/debian:1", "ports:vm": "80", "cities:eu": "AMS", "replicas:eu": "1"}
        typed = {"user-data:vm": said.replace("\n", "\r\n"), "ssh-keys:vm": key}
        return {"version": version, **plain, **typed, **more}

    assert "Nothing would change" in ada.ask("POST", f"{at}/change/plan", **sent()).text
    new = {"image:vm": "default/debian:2", "user-data:vm": "#!/bin/sh\r\ntrue\r\n", "ssh-keys:vm": ""}
    answer = ada.ask("POST", f"{at}/change", **sent(**new))
    assert answer.status_code == 303, answer.text
    found = vm()
    assert found["image"] == "default/debian:2" and b64decode(found["userData"]) == b"#!/bin/sh\ntrue\n"
    assert "sshKeys" not in found
    binary = b64encode(b"\xff\xfe").decode()
    changed = world.get(f"{BASE}/vm")["workload"]
    changed["spec"]["virtualMachines"]["vm"]["userData"] = binary
    world.send("PUT", f"{BASE}/vm", {"workload": changed})
    assert "is no text" in ada.get(f"{at}/change")
    form = {k: v for k, v in sent(**{"image:vm": "default/debian:2", "ports:vm": "81"}).items() if "user" not in k}
    assert ada.ask("POST", f"{at}/change", **form).status_code == 303
    assert vm()["userData"] == binary and vm()["ports"].keys() == {"port-81-tcp"}


def test_a_virtual_machine_is_started_with_another_image_to_mend_it(world: World, ada: Visitor) -> None:
    """Beside power, with the images of its stack that are ready; the instance says why it gets no traffic, and power
    brings it back.
    """
    at = f"{ONE.removesuffix('web')}vm"
    agents = world.agents()
    for agent in agents:
        agent.machines = Acceleration.TCG
    world.settle(agents)
    page = ada.get(at)
    assert f'action="{at}/rescue"' in page and "<option>default/debian:2</option>" in page
    assert "/rescue" not in ada.get(ONE), "containers have no disk to mend"

    def life() -> Any:
        (found,) = [p.incarnation for p in world.state.incarnations.values() if p.incarnation.name == "vm-eu-ams-0"]
        return found

    answer = ada.ask("POST", f"{at}/rescue", instance="vm-eu-ams-0", image="default/debian:1")
    assert answer.headers["location"] == f"{at}?done=mending", answer.text
    assert "gets no traffic" in ada.get(f"{at}?done=mending")
    assert life().rescue.reference == "default/debian:1"
    for instance, image in (("0", "default/none"), ("0", ""), ("9", "default/debian:1")):
        told = ada.ask("POST", f"{at}/rescue", instance=f"vm-eu-ams-{instance}", image=image)
        assert told.status_code in (400, 404), (instance, image)
    assert ada.ask("POST", f"{at}/power", instance="vm-eu-ams-0", act="on").status_code == 303
    assert life().rescue is None


def test_a_disk_of_a_virtual_machine_becomes_an_image(world: World, ada: Visitor) -> None:
    """By a form beside power; an image is named by two words, and of a machine that is there."""
    at = f"{ONE.removesuffix('web')}vm"
    agents = world.agents()
    for agent in agents:
        agent.machines = Acceleration.TCG
    world.settle(agents)
    assert f'action="{at}/capture"' in ada.get(at) and "/capture" not in ada.get(ONE)
    answer = ada.ask("POST", f"{at}/capture", instance="vm-eu-ams-0", disk="", family="golden", tag="1")
    assert answer.headers["location"] == f"{at}?done=captured", answer.text
    assert "copies the disk" in ada.get(f"{at}?done=captured")
    found = world.get("/workload/v1/stacks/default/images/golden/1")["image"]
    assert [part.get("capturedFrom") for part in found["parts"]] == [{"instance": "vm-eu-ams-0"}]
    for wrong in ({"family": ""}, {"family": "Golden"}, {"tag": "1"}, {"instance": "nobody"}, {"disk": "none"}):
        form: dict[str, Any] = {"instance": "vm-eu-ams-0", "disk": "", "family": "golden", "tag": "2"} | wrong
        assert ada.ask("POST", f"{at}/capture", **form).status_code in (400, 404, 409), wrong
    assert world.call("DELETE", "/workload/v1/stacks/default/images/golden").status_code == 204


def test_revisions_say_what_they_changed_and_what_going_back_would(world: World, ada: Visitor) -> None:
    told = ada.get(f"{ONE}/revisions/2/changes?newest={declared(world)['metadata']['version']}")
    assert "Going back would change" in told and "Since revision 1" in told and "r/web:2" in told
    assert "a secret, which differs" in told and "hush" not in told
    assert "the oldest that is kept" in ada.get(f"{ONE}/revisions/1/changes")
    listed = ada.get(f"{ONE}/revisions")
    assert f"{ONE}/revisions/2/changes?newest=" in listed and "Go back to 1" in listed
    assert ada.ask("GET", "/portal/stacks/default/workloads/none/revisions/1/changes").status_code == 404
    assert ada.ask("GET", f"{ONE}/revisions/x/changes").status_code == 400


def test_who_may_only_look_has_no_buttons_and_is_refused(world: World) -> None:
    vic = Visitor(world).sign_in("vic")
    page = vic.get(f"{ONE}?done=scaled&revision=1")
    assert "Undo" not in page and "/change" not in page and "Go back" not in vic.get(f"{ONE}/revisions")
    before = world.state.workloads
    sent = fields(world, **{"image:web": "r/x:1"})
    wanted: tuple[tuple[str, dict[str, Any]], ...] = (
        ("change", sent), ("rollout", {"act": "pause:x"}), ("undo", {"revision": "1"}),
        ("targets/eu/remove", {"version": "1"}), ("rescue", {"instance": "web-eu-ams-0", "image": "default/debian:1"}),
    )  # fmt: skip
    for path, form in wanted:
        assert vic.ask("POST", f"{ONE}/{path}", **form).status_code == 403
    assert world.state.workloads == before
