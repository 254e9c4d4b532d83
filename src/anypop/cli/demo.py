"""The whole story on a terminal, for real, and what was measured of it.

In: where the platform may live. Out: ten chapters printed as they happen, and a report as plain data. Every chapter
uses what a user would use: the same commands' code, the same API. Only the accidents (a killed process, a PoP cut off)
are made here, by root's own hands.
"""

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from anypop.cli import declaration, demo_machine, portal, probes, reasons, rollouts, views, watch
from anypop.cli.call import Call, called
from anypop.cli.failure import Failure, usage
from anypop.cli.screen import Shown
from anypop.lab import build, metrics, platform
from anypop.lab.leftovers import left_behind
from anypop.lab.serving import until_serving
from anypop.lab.topology_read import load
from anypop.lab.until import until
from anypop.lab.vantage import Stream

WORKLOAD = "stackpath-anycast-fun"
TARGETS = ("na1=JFK,LAX", "eu1=AMS,LHR")
# what to look at in the portal, in this order
CLICKS = (
    f"Workloads, {WORKLOAD}: its instances by city, as they are now. Set na1 to 3 under Scale, and watch them start.",
    "Map: which PoP each vantage reaches, and why. Test now asks them anew.",
    "Restart all: city by city, and no request is lost.",
    "Metrics: what instances use, and what the demo did to them; shorter and longer times, by PoP or by instance.",
    "Create: click cities on the map, and see the price before the button.",
    "Costs: what it costs so far, and at the end of the month.",
    "Activity: all that this demo did, with its reasons; Audit log: who asked for it.",
)
REQUESTS = 15  # as in the article: `for i in $(seq 1 15); do curl -s ADDRESS; done`
# between two requests while something breaks: many times in the shortest gap that a person would notice
STREAM_S = 0.02


@dataclass(slots=True)
class Story:
    """One telling. `report` grows chapter by chapter, in the shape of docs/demo.md. `image`: the folder of a virtual
    machine's; None: there is none.
    """

    call: Call
    place: platform.Platform
    image: Path | None = None
    report: dict[str, Any] = field(default_factory=dict)
    rules: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lab(self) -> build.Lab:
        return build.attach(self.place.state / "lab")

    def tell(self) -> None:
        """Chapters 3 to 10; the internet and the platform are up already."""
        chapters: tuple[tuple[str, Callable[[], None]], ...] = (
            ("The price comes first", self.quote),
            ("One operation deploys", self.deploy),
            ("Anycast works", lambda: self.probe("before")),
            ("It says why", self.explain),
            ("It repairs it", self.repair),
            ("An update under load", self.update),
            ("It survives: one instance is killed", self.kill_instance),
            ("It survives: a whole PoP is cut off", self.cut_pop),
            ("A virtual machine beside the containers", self.machine),
        )
        self.report |= {"workload": WORKLOAD, "probes": {}, "failures": {}}
        for title, chapter in chapters:
            self.say("", [(f"== {title}", "bold")])
            chapter()

    def say(self, *shown: Shown) -> None:
        self.call.screen.preview(*shown)

    def document(self) -> dict[str, Any]:
        options = declaration.Wanted(
            slug=WORKLOAD, image=self.place.image, ports=["80"], size="SP-2", targets=TARGETS, replicas=2, anycast=True
        )
        return declaration.of_options(options)

    def quote(self) -> None:
        found = self.call.client.call("POST", "/anypop/v1/quote", what="quote", body={"workload": self.document()})
        self.report["quote"] = found
        self.say(views.quote(found))

    def deploy(self) -> None:
        targets = " ".join(f"--target {target}" for target in TARGETS)
        self.say(
            f"$ anypop workload create {WORKLOAD} --image {self.place.image} --port 80 --size SP-2 {targets} "
            "--replicas 2 --anycast"
        )
        began = time.monotonic()
        made = self.call.client.call(
            "POST", f"{self.call.stack_path('workload')}/workloads", what="create", body={"workload": self.document()}
        )["workload"]
        found = list(views.by_name(watch.until_running(self.call, WORKLOAD, views.expected(made), timeout_s=120)))
        running = time.monotonic() - began
        anycast = views.anycast_of(made)[0].split("/")[0]
        externals = [str(instance["externalIpAddress"]) for instance in found]
        until_serving(self.lab.plan.vantages, [*externals, anycast], port=80, timeout_s=60)
        serving = time.monotonic() - began
        self.report["timings"] |= {"create_to_running_s": round(running, 3), "create_to_serving_s": round(serving, 3)}
        self.report["instances"] = [
            {
                "name": instance["name"],
                "pop": instance["location"]["cityCode"],
                "phase": instance["phase"],
                "external": instance["externalIpAddress"],
                "anycast": anycast,
            }
            for instance in found
        ]
        self.say(
            views.instances(found),
            f"all run after {running:.2f} s, each answers every vantage after {serving:.2f} s; anycast {anycast}",
        )

    def probe(self, when: str) -> None:
        what = {"workload": WORKLOAD, "stack": self.call.client.settings.stack, "requests": REQUESTS}
        found = self.call.client.call("POST", "/anypop/v1/probes", what="probe", body=what)["results"]
        self.report["probes"][when] = found
        self.say("$ anypop probe --all", *probes.probe_lines(found))

    def explain(self) -> None:
        query = {"workload": WORKLOAD, "stack": self.call.client.settings.stack, "target": "london"}
        found = self.call.client.get("/anypop/v1/why", what="why london", **query)
        self.report["why"] = why_summary(found)
        self.say("$ anypop why london", *reasons.lines(found))

    def repair(self) -> None:
        """By the community that keeps a route in its region; then, as the second way, by not announcing there at
        all.
        """
        path = f"{self.call.workload_path(WORKLOAD, 'anypop')}/announcements"
        entries = self.call.client.get("/anypop/v1/communities/209", what="communities of AS209")["entries"]
        community = keep_in_region(entries, "NA")
        ways = (
            (
                f"announce scope {WORKLOAD} --pop JFK,LAX --upstream 209 --keep-in NA",
                {"mode": "announce", "communities": [community]},
            ),
            (f"announce withhold {WORKLOAD} --pop JFK,LAX --upstream 209", {"mode": "withhold"}),
        )
        before = {row["vantage"]: row["pop"] for row in self.report["probes"]["before"]}
        changes = [
            [{"pop": pop, "upstream": "209", "scope": scope, "note": words} for pop in ("JFK", "LAX")]
            for words, scope in ways
        ]
        for number, (words, _) in enumerate(ways):
            if number > 0:
                self.say("", "The second way, after taking the first one back:")
                self.call.client.call("DELETE", path, what="reset announcements")
                self.lands("london", "JFK")
            self.call.client.call("PUT", path, what="scope announcements", body={"rules": changes[number]})
            self.lands("london", "LHR")
            self.say(f"$ anypop {words}")
            self.probe("after" if number == 0 else "after_withhold")
        after = {row["vantage"]: row["pop"] for row in self.report["probes"]["after"]}
        moved = [{"vantage": v, "from": before[v], "to": after[v]} for v in after if before[v] != after[v]]
        self.report["repair"] = {"changes": changes[0], "moved": moved, "second_way": changes[1]}
        self.call.client.call("PUT", path, what="scope announcements", body={"rules": changes[0]})
        self.lands("london", "LHR")

    def lands(self, name: str, pop: str) -> None:
        """Returns once one vantage's requests reach a PoP."""
        what = {"workload": WORKLOAD, "stack": self.call.client.settings.stack, "requests": 1, "vantages": [name]}

        def there() -> bool:
            rows = self.call.client.call("POST", "/anypop/v1/probes", what="probe", body=what)["results"]
            return bool(rows[0]["pop"] == pop)

        until(there, timeout_s=20, what=f"{name} landing in {pop}")

    def update(self) -> None:
        """Another environment for every instance, PoP by PoP, while every vantage asks on; then one that cannot
        start, which is taken back.
        """
        lab = self.lab
        path = self.call.workload_path(WORKLOAD)
        changed = {"spec": {"containers": {"app": {"env": {"RELEASE": {"value": "2"}}}}}}
        address = self.report["instances"][0]["anycast"]
        with contextlib.ExitStack() as streams:
            running = [streams.enter_context(Stream(v, address, interval_s=STREAM_S)) for v in lab.plan.vantages]
            made = self.call.client.call("PATCH", path, what="update", body={"workload": changed})["workload"]
            revision = int(made["metadata"]["version"])
            rollout = rollouts.until_ended(self.call, WORKLOAD, revision, timeout_s=120)
            broken = {"spec": {"containers": {"app": {"image": f"{self.place.image}-that-does-not-exist"}}}}
            bad = self.call.client.call("PATCH", path, what="update", body={"workload": broken})["workload"]
            try:
                rollouts.until_ended(self.call, WORKLOAD, int(bad["metadata"]["version"]), timeout_s=120)
            except Failure as failure:
                self.say(f"revision {bad['metadata']['version']}: {failure.message}", *failure.problems)
            else:
                raise Failure("an image that does not exist was rolled out")
            until(self.on_newest, timeout_s=60, what="every instance on the good revision")
            answers = [answer for stream in running for answer in stream.stop()]
        after = self.standing()
        failed = sum(not answer.ok for answer in answers)
        self.report["update"] = {
            "requests": len(answers),
            "failed": failed,
            "seconds": rollout["seconds"] if rollout else 0.0,
            "revision": after["revision"],
            "instances_on_it": after["instances_on_it"],
        }
        self.say(
            f"revision {revision} reached {after['instances']} instances in {self.report['update']['seconds']:.1f} s, "
            "and a broken one was "
            f"taken back by itself: {failed} of {len(answers)} requests from all vantages failed; "
            f"{after['instances_on_it']} of {after['instances']} on revision {after['revision']}"
        )

    def standing(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call.client.get(
            f"{self.call.workload_path(WORKLOAD, 'anypop')}/rollouts", what="rollouts"
        )
        return found

    def on_newest(self) -> bool:
        found = self.standing()
        return bool(found["instances_on_it"] == found["instances"])

    def kill_instance(self) -> None:
        victim = next(i for i in self.report["instances"] if i["pop"] == "AMS")
        with self.stream("amsterdam") as stream:
            began = time.monotonic()
            kill_container(self.place.podman("AMS").socket, victim["name"])
            until(
                lambda: self.instance(victim["name"])["restarts"] > 0,
                timeout_s=30,
                what=f"{victim['name']} to be restarted",
            )
            until(
                lambda: self.instance(victim["name"])["phase"] == "RUNNING",
                timeout_s=30,
                what=f"{victim['name']} to run again",
            )
            took = time.monotonic() - began
            counts = self.counts("instance", stream)
        self.say(
            f"{victim['name']} was killed and runs again after {took:.2f} s: {counts} requests from Amsterdam failed"
        )

    def cut_pop(self) -> None:
        lab = self.lab
        with self.stream("amsterdam") as stream:
            lab.cut("AMS")
            try:
                other = until(
                    lambda: self.elsewhere("amsterdam", "AMS"), timeout_s=30, what="Amsterdam landing in another PoP"
                )
            finally:
                lab.restore("AMS")
            self.lands("amsterdam", "AMS")
            counts = self.counts("pop", stream)
        self.say(
            f"AMS was cut off: Amsterdam landed in {other}, and in AMS again after its return: {counts} requests failed"
        )

    def machine(self) -> None:
        self.report["vm"] = demo_machine.tell(self.call, self.lab, self.image, self.say)

    def counts(self, kind: str, stream: Stream) -> str:
        """End a stream, keep its numbers in the report, and say them."""
        answers = stream.stop()
        failed = sum(not answer.ok for answer in answers)
        self.report["failures"][kind] = {"requests": len(answers), "failed": failed}
        return f"{failed} of {len(answers)}"

    def elsewhere(self, name: str, pop: str) -> str:
        what = {"workload": WORKLOAD, "stack": self.call.client.settings.stack, "requests": 1, "vantages": [name]}
        found = self.call.client.call("POST", "/anypop/v1/probes", what="probe", body=what)["results"][0].get("pop")
        return str(found) if found and found != pop else ""

    def stream(self, name: str) -> Stream:
        return Stream(self.lab.vantage(name), self.report["instances"][0]["anycast"], interval_s=STREAM_S)

    def instance(self, name: str) -> dict[str, Any]:
        found = self.call.client.get(f"{self.call.workload_path(WORKLOAD)}/instances/{name}", what=name)["instance"]
        statuses = found.get("containerStatuses") or []
        return {"phase": found["phase"], "restarts": sum(int(s.get("restartCount") or 0) for s in statuses)}


def why_summary(found: dict[str, Any]) -> dict[str, Any]:
    """The parts of a `why` that the report keeps: the vantage's own candidates, and where it was decided."""
    held = [option["candidate"] for option in found["hops"][0]["options"]]
    return {
        "vantage": found["vantage"],
        "candidates": [{"as_path": candidate["as_path"], "best": candidate["best"]} for candidate in held],
        "decided_at_as": found["decided_at_as"],
        "decided_by": found["decided_by"],
        "landed": found["landed"],
        "nearest": found["nearest"],
    }


def keep_in_region(entries: list[dict[str, Any]], region: str) -> str:
    """The community of a dictionary that keeps a route inside a region."""
    for entry in entries:
        if entry["action"]["kind"] == "keep-in-region" and entry["action"]["region"] == region:
            return str(entry["community"])
    raise Failure(f"this dictionary has no community that keeps a route inside {region}")


def kill_container(socket: Path, instance: str) -> None:
    """SIGKILL for the containers of an instance, straight through its PoP's Podman: an accident, not an order."""
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://podman/v4.0.0/libpod") as http:
        filters = f'{{"label":["anypop.instance={instance}"]}}'
        for container in http.get("/containers/json", params={"filters": filters}).raise_for_status().json():
            http.post(f"/containers/{container['Id']}/kill", params={"signal": "KILL"}).raise_for_status()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """Where and how the demo runs; the options of `anypop demo`."""

    topology: Path
    state: Path
    prefix: str
    api_port: int
    registry_port: int
    leave: bool
    report: Path | None
    vm_image: Path | None = None


def run(call: Call, wish: Wish) -> dict[str, Any]:
    """Tell it all. With `leave` everything is taken down at the end, also when a chapter fails; the report says what
    was left behind.
    """
    _check_stage(wish.topology)
    began = time.monotonic()
    marks: dict[str, float] = {}

    def progress(step: str) -> None:
        marks[step] = time.monotonic() - began
        call.screen.preview(f"{marks[step]:6.2f} s  {step}")

    kept = (wish.state / "control").exists()  # somebody's workloads and keys, from an earlier time
    story: Story | None = None
    try:
        call.screen.preview([("== An internet comes up, then the platform", "bold")])
        place = platform.up(
            wish.topology,
            state=wish.state,
            prefix=wish.prefix,
            api_port=wish.api_port,
            registry_port=wish.registry_port,
            store=True,
            progress=progress,
        )
        if not place.metrics_port:
            call.screen.note(metrics.NONE)
        ready = time.monotonic() - began
        call.screen.preview(f"{ready:6.2f} s  ready: {place.api}")
        story = Story(call, place, wish.vm_image)
        story.report["timings"] = {
            "lab_ready_s": round(marks[platform.LAB_READY], 3),
            "platform_ready_s": round(ready, 3),
        }
        story.tell()
    finally:
        if wish.leave and marks:  # nothing had begun where somebody else's platform was in the way
            platform.down(wish.state, progress=lambda _: None, purge=not kept)
    story.report["left_behind"] = left_behind(wish.state, wish.prefix) if wish.leave else []
    if wish.report is not None:
        wish.report.write_text(json.dumps(story.report, indent=1) + "\n")
    if not wish.leave:
        call.screen.preview("", *how_to_go_on(place, portal.link(call.client)))
    return story.report


def _check_stage(file: Path) -> None:
    """The story is the article's: it needs its PoPs, and London to be asked about. `Failure` before anything starts
    where they are not.
    """
    found = load(file.read_text(encoding="utf-8"), name=str(file))
    pops, vantages = {pop.city for pop in found.own.pops}, {vantage.name for vantage in found.vantages}
    missing = [
        f"a PoP in {city}" for target in TARGETS for city in target.partition("=")[2].split(",") if city not in pops
    ]
    missing += [f"a vantage named {name}" for name in ("london", "amsterdam") if name not in vantages]
    if missing:
        raise usage(
            f"the demo's story does not fit {file}: it lacks {', '.join(missing)}",
            advice=f"'{called()} up --topology {file}' builds it.",
        )


def how_to_go_on(place: platform.Platform, link: Mapping[str, object]) -> list[Shown]:
    """What to click and what to type next. `link`: one that signs in at the portal."""
    state = "" if place.state == platform.DEFAULT_STATE else f" --state {place.state}"
    lines = (
        "pops",
        "probe --all",
        "why seattle",
        f"announce list {WORKLOAD}",
        "lab cut LHR",
        "lab restore LHR",
        "events",
    )
    minutes = int(str(link["expires_in"])) // 60
    return [
        f"It stays up: {place.api} (CA: {place.state}/control/ca.pem, credentials: {place.state}/client.json).",
        [("In a browser on this machine:", "bold")],
        f"  {link['url']}",
        f"  It signs you in once, within {minutes} minutes; '{called()} portal{state}' shows another one.",
        "  The certificate is of the platform's own authority, so the browser asks once whether to go on.",
        *(f"  {number}. {what}" for number, what in enumerate(CLICKS, 1)),
        [("On this terminal:", "bold")],
        *(f"  {called()} {line}{state}" for line in lines),
        f"Take it down with: {called()} down{state}",
    ]
