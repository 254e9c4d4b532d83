"""Rollouts through control as it is, its API and its store: what a change does to what runs, and what a bad one does
not do.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from anypop.model.names import HostName, WorkloadId
from anypop.model.network import Capacity, Network
from anypop.model.order import InstanceOrder
from anypop.model.plan import Incarnation
from anypop.model.reasons import Reason
from anypop.model.rollout import Rollout, RolloutPhase
from tests.control_world import FakeAgent, World, a_network

WORKLOAD = "/workload/v1/stacks/default/workloads/fun"
OURS = "/anypop/v1/stacks/default/workloads/fun"
OLD, NEW = "registry.example/web:1", "registry.example/web:2"
CITIES = ("AMS", "LHR", "JFK")


class Story:
    """Six instances in three PoPs that run and answer; time passes second by second, and after each everybody
    reports.
    """

    def __init__(
        self, folder: Path, network: Network | None = None, *, cities: tuple[str, ...] = CITIES, replicas: int = 2
    ) -> None:
        self.world = World(folder, network)
        self.world.create(cities=cities, replicas=replicas)
        self.agents = self.world.agents()
        self.seen: list[tuple[str, ...]] = []
        self.removed: dict[str, str] = {}
        self.second()
        self.second()
        assert {i["phase"] for i in self.world.instances()} == {"RUNNING"}

    @property
    def id(self) -> WorkloadId:
        return next(iter(self.world.state.workloads))

    def second(self, seconds: float = 1.0) -> None:
        """Time passes, and everybody obeys and reports."""
        self.world.clock.now += seconds
        for agent in self.agents:
            agent.obey()
            self.removed |= {r.uid: r.reason.value for r in agent.order.removed} if agent.order is not None else {}

    def until(self, what: Callable[[], object], seconds: int = 200) -> None:
        for _ in range(seconds):
            if what():
                return
            self.second()
        raise AssertionError(f"not within {seconds} s: {self.rollout()}\n{self.living()}")

    def ends(self, seconds: int = 200) -> Rollout:
        """Until no rollout is under way; the one that began last."""
        self.until(lambda: all(r.phase.ended for r in self.world.state.rollouts.values()), seconds)
        return self.rollout()

    def rollout(self) -> Rollout:
        return max(self.world.state.rollouts.values(), key=lambda r: (r.created_at, r.revision))

    def rollouts(self) -> list[tuple[int, str]]:
        """Revision and phase of each, in the order in which they began."""
        found = sorted(self.world.state.rollouts.values(), key=lambda r: r.revision)
        return [(r.revision, r.phase.value) for r in found]

    def put(self, **container: Any) -> dict[str, Any]:
        """Declare the workload with these members of its container."""
        document = copy.deepcopy(self.world.get(WORKLOAD)["workload"])
        document["spec"]["containers"]["web"] |= container
        made: dict[str, Any] = self.world.send("PUT", WORKLOAD, {"workload": document})["workload"]
        return made

    def patch(self, **members: Any) -> None:
        self.world.send("PATCH", WORKLOAD, {"workload": members})

    def ask(self, what: str) -> Any:
        return self.world.send("POST", f"{OURS}/rollouts/{self.rollout().id}/{what}")

    def bend(self, name: str, image: str) -> None:
        """From now on, everywhere: `missing`, `crashing` or `sick`."""
        for agent in self.agents:
            getattr(agent, name).add(image)

    def living(self) -> list[Incarnation]:
        return sorted((p.incarnation for p in self.world.state.incarnations.values()), key=lambda i: (i.name, i.life))

    def uids(self) -> set[str]:
        return set(self.world.state.incarnations)

    def runs(self) -> dict[str, list[str]]:
        """The images that run in each city, by the orders that their agents obey."""
        return {
            a.pop: sorted(i.containers[0].image for i in a.order.instances)
            for a in self.agents
            if a.order and a.order.instances
        }

    def image(self) -> str:
        """What is declared."""
        return str(self.world.get(WORKLOAD)["workload"]["spec"]["containers"]["web"]["image"])

    def revisions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.world.get(f"{OURS}/revisions")["results"]
        return found

    def progress(self) -> tuple[int, int, int]:
        status = self.world.get(f"{OURS}/rollouts")
        return status["instances_on_it"], status["instances"], status["revision"]

    def orders(self) -> list[InstanceOrder]:
        return [i for a in self.agents if a.order is not None for i in a.order.instances]

    def restart(self) -> None:
        """Control is killed and starts anew; its agents go on with what they have."""
        self.world.restart()


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    made = Story(tmp_path)
    with made.world:
        yield made


# a good change


def test_another_image_is_rolled_out_pop_by_pop_and_ends_done(story: Story) -> None:
    """One PoP first, then the others; never less than two healthy ones in each; in the end the new image runs
    everywhere.
    """
    before = story.uids()
    assert story.put(image=NEW)["metadata"]["version"] == "2"
    assert story.progress() == (0, 6, 2)
    changed: list[str] = []
    least = 2
    while not story.rollout().phase.ended:
        story.second()
        for city, images in story.runs().items():
            least = min(least, len(images))
            if NEW in images and city not in changed:
                changed.append(city)
                assert city == changed[0] or story.runs()[changed[0]] == [NEW, NEW], (
                    "the first PoP proves it for the others"
                )
    assert changed[0] == "AMS" and sorted(changed) == sorted(CITIES)
    assert least == 2, "an old one goes only when the new one serves"
    assert story.rollout().phase is RolloutPhase.DONE
    assert story.runs() == {city: [NEW, NEW] for city in CITIES}
    assert story.progress() == (6, 6, 2)
    assert story.uids().isdisjoint(before)
    assert set(story.removed) == before and set(story.removed.values()) == {Reason.SUPERSEDED.value}
    assert [r["good"] for r in story.revisions()] == [False, True]
    assert story.world.clock() - story.rollout().created_at < 30, "six instances in three PoPs within half a minute"
    kinds = [e["kind"] for e in story.world.get("/anypop/v1/events?limit=1000")["results"]]
    assert (kinds.count("rollout-begun"), kinds.count("rollout-wave"), kinds.count("rollout-done")) == (1, 1, 1)


def test_a_wave_is_not_through_while_an_old_one_still_drains(tmp_path: Path) -> None:
    """Its connections may last: the next instance of its host, and the next PoP, wait for it."""
    for replicas in (1, 2):
        (tmp_path / str(replicas)).mkdir()
        story = Story(tmp_path / str(replicas), replicas=replicas)
        with story.world:
            for agent in story.agents:
                agent.drains = True
            story.put(image=NEW)
            for _ in range(10):
                story.second(5)
            assert story.runs()["AMS"] == [OLD, NEW][-replicas:] and story.rollout().wave == 0
            assert story.rollout().well_since is None
            for agent in story.agents:
                agent.drains = False
            assert story.ends().phase is RolloutPhase.DONE


def test_names_and_public_addresses_go_on_while_private_ones_do_not(story: Story) -> None:
    """What others know of an instance is its slot's."""

    def addresses() -> dict[str, tuple[list[str], list[str]]]:
        return {
            i.name: ([str(a.external) for a in i.addresses()], [str(a.private) for a in i.addresses()])
            for i in story.orders()
        }

    before = addresses()
    story.put(image=NEW)
    story.ends()
    after = addresses()
    assert after.keys() == before.keys()
    assert all(after[n][0] == before[n][0] and set(after[n][1]).isdisjoint(before[n][1]) for n in before)


@pytest.mark.parametrize(
    "container",
    [
        {"command": ["/run"]},
        {"args": ["--fast"]},
        {"env": {"MODE": {"value": "fast"}}},
        {"env": {"TOKEN": {"secretValue": "hush"}}},
        {"resources": {"requests": {"cpu": "1", "memory": "4Gi"}}},
    ],
    ids=["command", "args", "env", "secret", "resources"],
)
def test_whatever_a_process_is_made_from_reaches_all_of_them(story: Story, container: dict[str, Any]) -> None:
    """Every instance has the newest revision, made anew; and only its changed members are other than before."""
    before, (old, *_) = story.uids(), story.orders()
    story.put(**container)
    assert story.ends().phase is RolloutPhase.DONE
    assert story.uids().isdisjoint(before)
    assert len({i.containers for i in story.orders()}) == 1 and story.orders()[0].containers != old.containers
    assert {i.revision for i in story.orders()} == {2}


def test_a_secret_that_is_changed_again_reaches_them_again(story: Story) -> None:
    """Its value is nowhere in the document, and yet another value is another template."""
    for value in ("one", "two"):
        story.put(env={"TOKEN": {"secretValue": value}})
        story.ends()
        assert {dict(i.containers[0].secrets)["TOKEN"] for i in story.orders()} == {value}
    templates = [r["template"] for r in story.revisions()]
    assert len(set(templates)) == 3
    assert "two" not in str(story.revisions()) + str(story.world.get(f"{OURS}/rollouts"))


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s.put(ports={"http": {"port": 8080, "protocol": "TCP"}}),
        lambda s: s.put(readinessProbe={"tcpSocket": {"port": 80}, "periodSeconds": 5}),
        lambda s: s.put(livenessProbe={"httpGet": {"port": 80, "path": "/live"}, "initialDelaySeconds": 15}),
        lambda s: s.patch(metadata={"labels": {"role": "edge"}}),
        lambda s: s.patch(name="another"),
    ],
    ids=["ports", "readiness", "liveness", "labels", "name"],
)
def test_what_needs_no_process_makes_no_incarnation_and_no_rollout(
    story: Story, change: Callable[[Story], object]
) -> None:
    """The same processes follow the new revision; nobody is STARTING, nothing is withdrawn; it counts as updated at
    once.
    """
    before = story.uids()
    change(story)
    assert story.progress() == (6, 6, 2)
    story.second()
    assert story.uids() == before and not story.removed and not story.world.state.rollouts
    assert {i.revision for i in story.orders()} == {2}
    assert {i["phase"] for i in story.world.instances()} == {"RUNNING"}
    assert all(r["announced"] for r in story.world.get(f"{OURS}/announcements")["results"])
    assert story.revisions()[-1]["good"]


def test_replicas_and_cities_come_and_go_without_a_rollout(story: Story) -> None:
    """Those that stay are the same; new ones are made from the newest."""
    before = story.uids()
    story.patch(**story.world.replicas(3))
    story.second()
    assert story.uids() > before and len(story.uids()) == 9
    story.patch(**story.world.replicas(1))
    story.second()
    assert len(story.uids() & before) == 3 and not story.world.state.rollouts
    assert set(story.removed.values()) == {Reason.SCALED_DOWN.value}


# a bad change


@pytest.mark.parametrize(
    ("how", "reason", "says"),
    [
        ("missing", Reason.DOES_NOT_START, "no such image"),
        ("crashing", Reason.RESTARTS, "exit code 1"),
        ("sick", Reason.DOES_NOT_BECOME_HEALTHY, "does not answer its probe"),
    ],
)
def test_a_broken_image_reverts_by_itself_and_harms_nobody(story: Story, how: str, reason: Reason, says: str) -> None:
    """Only the first PoP ever saw it; no old one was removed; what is declared is the last good revision, as a new
    one with the reason.
    """
    before, announced = story.uids(), {a.host: a.order.announcements for a in story.agents if a.order}
    good = story.image()
    story.bend(how, NEW)
    story.put(image=NEW)
    while not all(r.phase.ended for r in story.world.state.rollouts.values()):
        story.second()
        assert before <= story.uids(), "an old one that serves was taken away"
        assert NEW not in str(story.runs()["LHR"]) + str(story.runs()["JFK"]), (
            "a bad image went further than the first PoP"
        )
        assert all(r["announced"] for r in story.world.get(f"{OURS}/announcements")["results"])
    failed = min(story.world.state.rollouts.values(), key=lambda r: r.revision)
    assert (failed.phase, failed.reason) == (RolloutPhase.REVERTED, reason)
    assert says in failed.message
    story.second()
    assert story.uids() == before and set(story.removed.values()) == {Reason.REVERTED.value}
    assert story.image() == good and story.progress() == (6, 6, 3)
    newest = story.revisions()[-1]
    assert newest["good"] and newest["note"].startswith("taken back from revision 2") and reason.says in newest["note"]
    assert {a.host: a.order.announcements for a in story.agents if a.order} == announced
    messages = [
        e["message"]
        for e in story.world.get("/anypop/v1/events?limit=1000")["results"]
        if e["kind"] == "rollout-reverted"
    ]
    assert len(messages) == 1 and reason.says in messages[0]


def test_a_change_that_turns_bad_later_is_taken_back_where_it_had_come(story: Story) -> None:
    """The first PoP is through and then falls ill in the second wave: it gets the old image again, beside and not
    instead.
    """
    story.put(image=NEW)
    story.until(lambda: story.rollout().wave == 1)
    assert story.runs()["AMS"] == [NEW, NEW]
    story.bend("crashing", NEW)
    story.until(lambda: story.runs() == {city: [OLD, OLD] for city in CITIES})
    assert story.ends().phase is RolloutPhase.DONE
    assert story.rollouts() == [(2, "reverted"), (3, "done")]
    assert story.rollout().waves == (("AMS", "JFK", "LHR"),), "the way back takes all at once"
    assert story.progress() == (6, 6, 3)


def test_an_instance_that_restarted_long_ago_does_not_end_the_way_back(story: Story) -> None:
    """Else every end would begin the next one, for ever."""
    before = story.uids()
    for agent in story.agents:
        agent.restarts = dict.fromkeys(before, 7)
    story.bend("missing", NEW)
    story.put(image=NEW)
    story.ends()
    story.second()
    assert story.rollouts() == [(2, "reverted"), (3, "done")]
    assert len(story.revisions()) == 3 and story.uids() == before


def test_two_bad_changes_one_after_the_other_end_at_the_last_good_one(story: Story) -> None:
    """Each is taken back by itself, and each leaves its traces."""
    before = story.uids()
    for number, image in enumerate(("registry.example/bad:1", "registry.example/bad:2"), 1):
        story.bend("missing", image)
        story.put(image=image)
        story.ends()
        story.second()
        assert story.image() == OLD and len(story.revisions()) == 1 + 2 * number
    assert story.uids() == before


def test_a_first_declaration_that_is_bad_can_be_mended(tmp_path: Path) -> None:
    """There is nothing to go back to, and the next good one reaches all."""
    story = Story(tmp_path)
    with story.world:
        story.world.create("sick", cities=("AMS",), replicas=1, image="registry.example/sick:1")
        story.bend("sick", "registry.example/sick:1")
        story.second()
        document = story.world.get("/workload/v1/stacks/default/workloads/sick")["workload"]
        document["spec"]["containers"]["web"]["image"] = NEW
        story.world.send("PUT", "/workload/v1/stacks/default/workloads/sick", {"workload": document})
        story.ends()
        (one,) = [i for i in story.orders() if i.name == "sick-eu-ams-0"]
        assert one.containers[0].image == NEW


# what people may ask


def test_pause_holds_everything_and_resume_goes_on(story: Story) -> None:
    """What is changed stays, nothing more changes, however long; then it ends as if nothing had been."""
    story.put(image=NEW)
    story.until(lambda: NEW in story.runs()["AMS"])
    assert story.ask("pause")["rollout"]["phase"] == "paused"
    held = story.uids()
    for _ in range(10):
        story.second(12)
    assert story.uids() == held and story.rollout().phase is RolloutPhase.PAUSED
    assert story.ask("resume")["rollout"]["phase"] == "running"
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: [NEW, NEW] for city in CITIES}
    refused = story.world.call("POST", f"{OURS}/rollouts/{story.rollout().id}/pause")
    assert refused.status_code == 400 and "has ended: done" in refused.json()["message"]


@pytest.mark.parametrize("how", ["overtaken", "aborted"])
def test_what_became_healthy_during_a_pause_stays_while_it_is_all_that_serves(story: Story, how: str) -> None:
    """The old one fell ill meanwhile: whatever is asked next, the slot is never without the one that answers."""
    old = next(i.uid for i in story.living() if i.name == "fun-eu-ams-0")
    story.put(image=NEW)
    story.ask("pause")
    for agent in story.agents:
        agent.ill.add(old)
    story.second()
    (new,) = [i.uid for i in story.living() if i.name == "fun-eu-ams-0" and i.uid != old]
    if how == "overtaken":
        story.put(image="registry.example/web:3")
    else:
        story.ask("abort")
    assert new in story.uids()
    story.second()
    serving = [i for i in story.orders() if i.name == "fun-eu-ams-0" and i.uid != old]
    assert serving, "nobody answers for the slot"
    for agent in story.agents:
        agent.ill.clear()
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: ["registry.example/web:3" if how == "overtaken" else OLD] * 2 for city in CITIES}


def test_abort_takes_back_what_was_changed(story: Story) -> None:
    """The old image again, declared as a new revision by the platform; those that still live are the same."""
    before = story.uids()
    story.put(image=NEW)
    story.until(lambda: story.runs()["AMS"] == [NEW, NEW])
    assert story.ask("abort")["rollout"]["phase"] == "aborted"
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: [OLD, OLD] for city in CITIES}
    assert story.image() == OLD
    assert len(story.uids() & before) == 4, "LHR and JFK were never touched"
    assert "asked for by a person" in story.revisions()[-1]["note"]


def test_the_way_back_cannot_be_aborted(story: Story) -> None:
    """There is nothing to go back to; it can be paused, or overtaken."""
    story.put(image=NEW)
    story.until(lambda: story.runs()["AMS"] == [NEW, NEW])
    story.ask("abort")
    refused = story.world.call("POST", f"{OURS}/rollouts/{story.rollout().id}/abort")
    assert refused.status_code == 400 and "nothing to go back to" in refused.json()["message"]
    story.put(image="registry.example/web:3")
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: ["registry.example/web:3"] * 2 for city in CITIES}


def test_rollback_declares_a_kept_revision_anew(story: Story) -> None:
    """By number, or the last one that was good; where it runs and what it is called stay as they are now."""
    story.put(image=NEW)
    story.ends()
    story.patch(name="renamed", **story.world.replicas(1))
    story.second()
    told = story.world.send("POST", f"{OURS}/rollback", {"revision": 1})
    assert told["revision"] == 4
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: [OLD] for city in CITIES}
    document = story.world.get(WORKLOAD)["workload"]
    assert document["name"] == "renamed" and document["targets"]["eu"]["spec"]["deployments"]["minReplicas"] == 1
    assert story.revisions()[-1]["note"] == "back to revision 1"
    refused = story.world.call("POST", f"{OURS}/rollback", json={"revision": 99})
    assert refused.status_code == 404 and "kept are 1, 2, 3" in refused.json()["message"]


def test_rollback_without_a_number_undoes_the_last_change(story: Story) -> None:
    """After a good change to the one before it; during a change to the last one that ran everywhere."""
    story.put(image=NEW)
    story.ends()
    story.world.send("POST", f"{OURS}/rollback", {})
    story.ends()
    assert story.image() == OLD
    story.put(image="registry.example/web:3")
    story.until(lambda: "registry.example/web:3" in story.runs()["AMS"])
    story.world.send("POST", f"{OURS}/rollback", {})
    story.ends()
    assert story.image() == OLD and story.runs() == {city: [OLD, OLD] for city in CITIES}


def test_a_restart_of_a_workload_is_a_rollout_of_what_is_declared(story: Story) -> None:
    """Every instance is made anew, wave by wave, and nowhere are there fewer that serve than before; the document stays
    as it is, and a later change does not take the restart back. Asked twice at once it goes on as one.
    """
    before, born = story.world.get(WORKLOAD)["workload"], story.uids()
    told = story.world.send("POST", f"{OURS}/restart")
    assert told["revision"] == 2 and told["instances_on_it"] == 0
    assert len(story.rollout().waves) > 1
    while not story.rollout().phase.ended:
        story.second()
        serving = [i["location"]["cityCode"] for i in story.world.instances() if i["phase"] == "RUNNING"]
        assert all(serving.count(city) >= 2 for city in CITIES), serving
    assert story.rollouts() == [(2, "done")]
    assert not story.uids() & born and len(story.uids()) == 6
    after = story.world.get(WORKLOAD)["workload"]
    assert after["spec"] == before["spec"] and after["targets"] == before["targets"]
    anew = story.uids()
    story.patch(**story.world.replicas(3))
    story.second()
    story.second()
    assert anew < story.uids() and len(story.uids()) == 9
    story.put(image=NEW)
    story.ends()
    story.world.send("POST", f"{OURS}/restart")
    story.world.send("POST", f"{OURS}/restart")
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: [NEW] * 3 for city in CITIES}


def test_a_restart_that_goes_badly_is_taken_back(story: Story) -> None:
    """The image does not start any more: what ran goes on, and the restart is told as reverted."""
    story.bend("crashing", OLD)
    story.world.send("POST", f"{OURS}/restart")
    story.until(lambda: any(r.phase is RolloutPhase.REVERTED for r in story.world.state.rollouts.values()))
    served = [i for i in story.world.instances() if i["phase"] == "RUNNING"]
    assert len(served) >= 4


def test_a_change_during_a_rollout_overtakes_it(story: Story) -> None:
    """The newest is what all come to; never three in a slot; if it is bad, they go back to what was good before
    both.
    """
    story.put(image=NEW)
    story.until(lambda: NEW in story.runs()["AMS"])
    story.put(image="registry.example/web:3")
    while not story.rollout().phase.ended:
        story.second()
        names = [i.name for i in story.living()]
        assert all(names.count(n) <= 2 for n in names)
    assert story.rollouts() == [(2, "superseded"), (3, "done")]
    assert story.runs() == {city: ["registry.example/web:3"] * 2 for city in CITIES}
    story.put(image="registry.example/web:4")
    story.until(lambda: "registry.example/web:4" in story.runs()["AMS"])
    story.bend("missing", "registry.example/web:5")
    story.put(image="registry.example/web:5")
    story.ends()
    story.second()
    assert story.image() == "registry.example/web:3"
    assert story.runs() == {city: ["registry.example/web:3"] * 2 for city in CITIES}


def test_a_change_of_labels_during_a_rollout_does_not_stop_the_watching(story: Story) -> None:
    """The rollout goes on under the new number, and a bad image is still found."""
    before = story.uids()
    story.bend("sick", NEW)
    story.put(image=NEW)
    story.second()
    story.patch(metadata={"labels": {"role": "edge"}})
    story.ends()
    story.second()
    assert story.image() == OLD and story.uids() == before
    assert [phase for _, phase in story.rollouts()][:2] == ["superseded", "reverted"]


def test_what_was_there_before_a_change_is_not_held_against_it(story: Story) -> None:
    """AMS had the newest image already from a change before the last one, and an instance of it has restarted since."""
    story.put(image=NEW)
    story.until(lambda: story.runs()["AMS"] == [NEW, NEW])
    story.put(image="registry.example/web:3")
    for agent in story.agents:
        agent.restarts = {i.uid: 3 for i in story.living() if i.pop == "AMS" and i.revision == 2}
    story.second()
    story.put(image=NEW)
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: [NEW, NEW] for city in CITIES}


def test_an_instance_that_is_alone_in_its_slot_is_still_watched_after_a_change_of_labels(tmp_path: Path) -> None:
    """There is no room for two and the old one is sick, so it goes first; the new one is no better, and is taken
    back.
    """
    plain = a_network({"AMS": (1299,)})
    pop = plain.pops[0]
    full = Capacity(cpu_millis=3000, memory_bytes=1 << 40, disk_bytes=1 << 40)
    story = Story(
        tmp_path,
        replace(plain, pops=(replace(pop, hosts=(replace(pop.hosts[0], capacity=full),)),)),
        cities=("AMS",),
        replicas=1,
    )
    with story.world:
        story.bend("sick", OLD)
        story.bend("sick", NEW)
        story.second()
        story.put(image=NEW)
        story.until(lambda: story.runs() == {"AMS": [NEW]})
        assert set(story.removed.values()) == {Reason.REPLACED.value}
        story.patch(metadata={"labels": {"role": "edge"}})
        story.until(lambda: story.runs() == {"AMS": [OLD]})
        assert [phase for _, phase in story.rollouts()][:2] == ["superseded", "reverted"]
        for agent in story.agents:
            agent.sick.clear()
        assert story.ends().phase is RolloutPhase.DONE
        assert story.image() == OLD


def test_where_nobody_else_serves_a_change_waits_for_room_and_says_so(tmp_path: Path) -> None:
    """One PoP, one healthy instance, a full host: it goes on as it is; with more room it is changed."""
    plain = a_network({"AMS": (1299,)})
    story = Story(tmp_path, plain, cities=("AMS",), replicas=1)
    with story.world:
        full = Capacity(cpu_millis=3000, memory_bytes=1 << 40, disk_bytes=1 << 40)
        for agent in story.agents:
            agent.capacity = full
        story.second()
        before = story.uids()
        story.put(image=NEW)
        for _ in range(10):
            story.second(10)
        assert story.uids() == before and story.rollout().phase is RolloutPhase.RUNNING
        told = [
            e["message"]
            for e in story.world.get("/anypop/v1/events?limit=1000")["results"]
            if e["kind"] == "not-planned"
        ]
        assert len(told) == 1 and "needs 2 CPUs, 1 of 3 are free on AMS" in told[0]
        for agent in story.agents:
            agent.capacity = replace(full, cpu_millis=4000)
        assert story.ends().phase is RolloutPhase.DONE
        assert story.runs() == {"AMS": [NEW]}


def test_where_there_is_no_room_for_two_one_pop_after_the_other_goes_first(tmp_path: Path) -> None:
    """Three PoPs of one instance each, full hosts: at every moment two serve; in the end the new image runs
    everywhere.
    """
    plain = a_network(dict.fromkeys(CITIES, (1299,)))
    full = Capacity(cpu_millis=3000, memory_bytes=1 << 40, disk_bytes=1 << 40)
    pops = tuple(replace(p, hosts=(replace(p.hosts[0], capacity=full),)) for p in plain.pops)
    story = Story(tmp_path, replace(plain, pops=pops), replicas=1)
    with story.world:
        story.put(image=NEW)
        while not story.rollout().phase.ended:
            story.second()
            assert sum(len(images) for images in story.runs().values()) >= 2
        assert story.rollout().phase is RolloutPhase.DONE
        assert story.runs() == {city: [NEW] for city in CITIES}
        assert set(story.removed.values()) == {Reason.REPLACED.value}


def test_what_goes_in_the_same_step_is_not_counted_on(tmp_path: Path) -> None:
    """Full hosts, and one change takes two cities away and the image with them: the last one may not go first."""
    plain = a_network(dict.fromkeys(CITIES, (1299,)))
    full = Capacity(cpu_millis=3000, memory_bytes=1 << 40, disk_bytes=1 << 40)
    pops = tuple(replace(p, hosts=(replace(p.hosts[0], capacity=full),)) for p in plain.pops)
    story = Story(tmp_path, replace(plain, pops=pops), replicas=1)
    with story.world:
        document = copy.deepcopy(story.world.get(WORKLOAD)["workload"])
        document["spec"]["containers"]["web"]["image"] = NEW
        document["targets"]["eu"]["spec"]["deployments"]["selectors"][0]["values"] = ["AMS"]
        story.world.send("PUT", WORKLOAD, {"workload": document})
        for _ in range(5):
            story.second()
            assert story.runs() == {"AMS": [OLD]}
        assert set(story.removed.values()) == {Reason.CITY_REMOVED.value}
        assert story.rollout().phase is RolloutPhase.RUNNING


def test_a_lost_host_holds_no_rollout_up(tmp_path: Path) -> None:
    """It falls silent while an old instance of it drains: what it had moves to the PoP's other host, and the change is
    through.
    """
    plain = a_network({"LHR": (1299,), "AMS": (1299,)})
    one = plain.pops[0].hosts[0]
    two = a_network({"JFK": (209,), "LAX": (209,), "LHR": (1299,)}).pops[2].hosts[0]
    london = replace(plain.pops[0], hosts=(replace(one, name=HostName("LHR-1")), replace(two, name=HostName("LHR-2"))))
    story = Story(tmp_path, replace(plain, pops=(london, plain.pops[1]), lost_after_s=30.0), cities=("LHR",))
    with story.world:
        away = next(a for a in story.agents if a.host == "LHR-1")
        away.drains = True
        story.put(image=NEW)
        story.second()
        assert Reason.SUPERSEDED in {
            t.reason for t in story.world.state.tombstones.values() if t.incarnation.host == "LHR-1"
        }
        story.agents.remove(away)
        assert story.ends(100).phase is RolloutPhase.DONE
        assert story.progress() == (2, 2, 2)
        assert {i.host for i in story.living()} == {"LHR-2"}


def test_what_is_taken_back_before_anything_changed_needs_no_rollout(story: Story) -> None:
    """The same document as before again: nothing runs that would have to go back but the first beside."""
    before = story.uids()
    story.put(image=NEW)
    story.put(image=OLD)
    story.second()
    assert story.uids() == before and story.ends().phase.ended
    assert story.progress() == (6, 6, 3) and story.revisions()[-1]["good"]


def test_deleting_during_a_rollout_takes_both_incarnations(story: Story) -> None:
    """And the workload is gone when its hosts say so, rollout and revisions with it."""
    story.put(image=NEW)
    story.until(lambda: len(story.uids()) > 6)
    living = story.uids()
    story.world.send("DELETE", WORKLOAD)
    story.second()
    assert living <= story.removed.keys()
    story.second()
    state = story.world.state
    assert not (state.workloads or state.incarnations or state.tombstones or state.rollouts or state.revisions)


def test_the_strategy_is_the_workloads_own(story: Story) -> None:
    """Bake time and surge as asked; kept with the workload; the one under way follows."""
    story.world.send("PUT", f"{OURS}/strategy", {"bake_s": 20, "surge": 2})
    story.put(image=NEW)
    assert len([i for i in story.living() if i.pop == "AMS"]) == 4
    story.until(lambda: story.rollout().well_since is not None)
    began = story.world.clock()
    story.restart()
    story.until(lambda: story.rollout().wave == 1)
    assert story.world.clock() - began >= 19
    story.world.send("PUT", f"{OURS}/strategy", {"bake_s": 0})
    assert story.ends(20).phase is RolloutPhase.DONE


# restarts of control


@pytest.mark.parametrize("bad", [False, True], ids=["good", "bad"])
def test_a_restart_of_control_after_every_step_ends_the_same(tmp_path: Path, bad: bool) -> None:
    """Killed and started anew after each report of each host: the same incarnations are changed, and the same end is
    reached.
    """
    ends = []
    for name, killed in (("quiet", False), ("killed", True)):
        (tmp_path / name).mkdir()
        story = Story(tmp_path / name)
        with story.world:
            if bad:
                story.bend("sick", NEW)
                story.world.send("PUT", f"{OURS}/strategy", {"deadline_s": 10})
            story.put(image=NEW)
            for _ in range(40):
                story.world.clock.now += 1
                for agent in story.agents:
                    if killed and not story.rollout().phase.ended:
                        story.restart()
                    agent.obey()
            assert story.rollout().phase.ended
            ends.append((story.rollouts(), story.runs(), [(i.name, i.revision) for i in story.living()], story.image()))
    assert ends[0] == ends[1]
    assert ends[0][1] == {city: [OLD if bad else NEW] * 2 for city in CITIES}


def test_a_restart_while_nothing_moves_makes_no_order(story: Story) -> None:
    """In the middle of a rollout too: what was decided is what is decided again."""
    story.put(image=NEW)
    story.until(lambda: NEW in story.runs()["AMS"])
    before = {host: issued.order for host, issued in story.world.state.orders.items()}
    story.restart()
    assert {host: issued.order for host, issued in story.world.state.orders.items()} == before


# taken over from an older version


def _forget_templates(story: Story) -> None:
    """Incarnations as a version that kept no templates left them."""

    async def forget() -> None:
        await story.world.platform.core.change(
            lambda state, now: replace(
                state,
                incarnations={
                    uid: replace(p, incarnation=replace(p.incarnation, template="", life=0))
                    for uid, p in state.incarnations.items()
                },
            )
        )

    for agent in story.agents:
        agent.made_from = dict.fromkeys(story.uids(), "")
    story.second()
    story.world.run(forget())


def test_incarnations_without_a_template_are_adopted_where_they_are_what_is_declared(story: Story) -> None:
    """Nothing is made anew, whether labels change meanwhile or not; a change of the image then reaches them like any
    other.
    """
    before = story.uids()
    _forget_templates(story)
    story.second()
    assert {i.template for i in story.living()} == {""} and story.uids() == before
    story.patch(metadata={"labels": {"role": "edge"}})
    story.second()
    for agent in story.agents:
        agent.made_from = {}
    story.ends()
    assert story.uids() == before and not story.removed
    assert story.progress() == (6, 6, 2)
    story.put(image=NEW)
    assert story.ends().phase is RolloutPhase.DONE
    assert story.uids().isdisjoint(before)


def test_incarnations_that_are_something_else_are_replaced_by_the_next_rollout(story: Story) -> None:
    """They run on as they are until something is declared; then all come to what is declared."""
    before = story.uids()
    _forget_templates(story)
    story.second()
    for agent in story.agents:
        agent.made_from = dict.fromkeys(before, "unknown")
    story.second()
    story.second()
    assert story.uids() == before and {i.template for i in story.living()} == {"unknown"}
    assert story.progress()[0] == 6
    story.patch(metadata={"labels": {"role": "edge"}})
    assert story.ends().phase is RolloutPhase.DONE
    assert story.uids().isdisjoint(before)
    assert story.progress() == (6, 6, 2)


def test_an_agent_that_is_silent_neither_stops_nor_ends_it(story: Story) -> None:
    """JFK says nothing: the others come to the new image, the last wave waits for it, and it goes on when JFK is
    back.
    """
    away: FakeAgent = next(a for a in story.agents if a.host == "JFK")
    story.agents.remove(away)
    story.second(20)
    story.put(image=NEW)
    story.until(lambda: story.runs() == {"AMS": [NEW, NEW], "LHR": [NEW, NEW]})
    for _ in range(20):
        story.second(10)
    assert story.rollout().phase is RolloutPhase.RUNNING
    assert "JFK" in story.rollout().message
    story.agents.append(away)
    assert story.ends().phase is RolloutPhase.DONE
    assert story.runs() == {city: [NEW, NEW] for city in CITIES}
