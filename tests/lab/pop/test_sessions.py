"""The agent and its speaker: what upstreams hear and when, and what is made of what they tell.

The upstreams are BIRDs of their own; what they say they have learnt is what counts.
"""

import os
import re
import shutil
import signal
import threading
from contextlib import suppress
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.act.bgp.session import SAID
from anypop.agent.bfd import files
from anypop.agent.naming import LEARNT_PREFERENCE, LEARNT_TABLE
from anypop.host import birdc, ip, netns, process
from anypop.model.announce import Announcement, Mode, Scope
from anypop.model.order import Grant
from anypop.model.reasons import Reason
from anypop.model.report import SessionReport
from anypop.model.workload import Probe, ProbeKind
from tests.agent_lab import (
    ANYCAST4,
    COVER4,
    COVER6,
    EXTERNAL4,
    PopLab,
    container_pids,
    external,
    instance,
    times_apart,
    tokens,
)
from tests.agent_pop import announced_because, fresh, learnt_routes, shell
from tests.podman_service import SERVE
from tests.wait import wait_until

pytestmark = pytest.mark.lab


def test_nothing_is_announced_before_an_instance_answers(clean: PopLab) -> None:
    """While the application starts slowly, its upstream hears nothing; at the moment it hears, the address answers
    (invariant 8).
    """
    slow = fresh(0, shell(f"sleep 1; {SERVE}"))
    clean.give(slow)
    wait_until(lambda: container_pids(clean).get(slow.name), timeout_s=10, reason="its process runs")
    assert not clean.upstreams.routes("one", COVER4)
    wait_until(
        lambda: announced_because(clean) is Reason.NO_HEALTHY_INSTANCE, timeout_s=20, reason="the report says why"
    )
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=10, reason="it is announced", every_s=0.002)
    assert clean.get(ANYCAST4) == slow.name


def test_a_prefix_without_instances_is_kept_until_the_governor_grants(clean: PopLab) -> None:
    """With every instance sick the agent asks to withdraw, keeps announcing, obeys the grant, and announces again
    after recovery.
    """
    probed = shell(f"touch /www/on; while true; do if [ -e /www/on ]; then {SERVE}; fi; sleep 0.02; done 2>/dev/null &")
    probed = replace(probed, readiness=Probe(kind=ProbeKind.HTTP, port=80, period_s=0.05, failure_threshold=2))
    only = fresh(0, probed)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is announced")
    pid = container_pids(clean)[only.name]
    Path(f"/proc/{pid}/root/www/on").unlink()

    def wants_withdraw() -> bool:
        _stop_server(pid)  # again and again: one may have been about to start
        prefix = clean.reported_prefix(COVER4)
        return prefix is not None and prefix.wants_withdraw

    wait_until(wants_withdraw, timeout_s=10, reason="it wants to withdraw")
    assert announced_because(clean) is Reason.AWAITING_GRANT
    assert clean.upstreams.routes("one", COVER4)
    grants = tuple(Grant(prefix=p, allowed=True, reason=Reason.GRANTED) for p in (COVER4, COVER6))
    clean.give(only, grants=grants)
    wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=20, reason="the grant withdraws it")
    assert clean.reported(only.name)
    Path(f"/proc/{pid}/root/www/on").touch()
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=10, reason="recovery announces it again")


def _stop_server(pid: int) -> None:
    """End the web server inside the container whose main process is `pid`."""
    space = Path(f"/proc/{pid}/ns/pid").stat().st_ino
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                int(folder.name) != pid
                and (folder / "ns/pid").stat().st_ino == space
                and (folder / "cmdline").read_bytes().startswith(b"httpd\0")
            ):
                os.kill(int(folder.name), signal.SIGKILL)


def test_removal_goes_in_order_as_its_upstream_sees_it(clean: PopLab) -> None:
    """First the graceful-shutdown community, then the withdrawal, both while the instance still answers; then it is
    gone (invariant 9).
    """
    only = fresh(0)
    clean.give(only)
    clean.wait_running(only.name)
    wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is announced")
    clean.give(removed=tokens(only))
    wait_until(
        lambda: "(65535,0)" in clean.upstreams.routes("one", COVER4),
        timeout_s=20,
        reason="it prefers less",
        every_s=0.005,
    )
    assert clean.get(ANYCAST4) == only.name
    wait_until(lambda: not clean.upstreams.routes("one", COVER4), timeout_s=20, reason="it is withdrawn", every_s=0.002)
    assert clean.get(external(only)) == only.name
    wait_until(
        lambda: only.uid in (clean.control.report.gone if clean.control.report else ()),
        timeout_s=10,
        reason="it is gone",
    )
    assert not netns.exists(f"{clean.prefix}-i-{only.uid}")
    assert only.name not in container_pids(clean)


def test_a_route_learnt_from_one_upstream_never_reaches_the_other(clean: PopLab) -> None:
    """The speaker exports our own prefixes and nothing else; what it learns, the kernel uses (invariant 10)."""
    learnt = clean.upstreams.learnt("two")
    assert str(EXTERNAL4) in learnt
    assert "203.0.113.1/32" not in learnt
    assert "2001:db8:ff0::/48" not in learnt
    assert {"203.0.113.1", "203.0.113.2"} <= learnt_routes(clean)


def test_learnt_routes_and_rules_that_somebody_takes_away_are_back_within_a_second(clean: PopLab) -> None:
    """An operator's flush of routes, in either family's table, and of rules; the agent hears of both."""
    there = learnt_routes(clean)
    wait_until(lambda: len(learnt_routes(clean)) >= 2, timeout_s=9, reason="both upstreams' routes are learnt")
    there = learnt_routes(clean)
    for family in ("-4", "-6"):
        argv = ["ip", family, "route", "flush", "table", str(LEARNT_TABLE)]
        process.run(netns.command(clean.router, *argv))
    wait_until(lambda: learnt_routes(clean) == there, timeout_s=1, reason="what was flushed is there again")
    wait_until(lambda: "2001:db8:ff0::/48" in learnt_routes(clean, "-6"), timeout_s=1, reason="and of IPv6")
    rules = clean.kernel("rule", "show")
    ip.batch([f"rule del pref {LEARNT_PREFERENCE}", f"rule del pref {LEARNT_PREFERENCE + 1}"], netns=clean.router)
    wait_until(lambda: clean.kernel("rule", "show") == rules, timeout_s=1, reason="the rules are there again")


def test_an_agent_that_has_bird_say_more_of_its_sessions_resets_none(clean: PopLab) -> None:
    """BIRD runs what an agent before this one wrote, without the line by which it says that a session fell; the next
    agent puts the line in, and both ends of each session stand since the same moment as before.
    """
    folder = clean.state / "bird"
    here = folder / "bird.ctl"
    there = [clean.folder / f"{name}.ctl" for name in ("one", "two")]
    wait_until(
        lambda: all(len(_stand_since(at)[0]) == most for at, most in ((here, 4), *((at, 2) for at in there))),
        timeout_s=20, reason="all sessions stand",
    )  # fmt: skip
    stood = _stand_since(here, *there)
    newest, earlier = (folder / "bird.conf").resolve(), folder / f"{0:016x}.conf"
    clean.kill_agent()
    text = newest.read_text()
    assert text.count(SAID) == 4
    earlier.write_text(text.replace(f"{SAID}\n", "").replace(newest.stem, earlier.stem))
    shutil.copy(newest.with_suffix(".json"), earlier.with_suffix(".json"))
    birdc.ask(here, f'configure "{earlier}"')
    wait_until(lambda: earlier.stem in birdc.ask(here, "eval anypop_digest"), timeout_s=20, reason="BIRD is as before")
    clean.start_agent()
    wait_until(
        lambda: newest.stem in birdc.ask(here, "eval anypop_digest"), timeout_s=20, reason="BIRD is told to say more"
    )
    assert newest.read_text() == text
    names, times = _stand_since(here, *there)
    assert (names, times) == (stood[0], pytest.approx(stood[1], abs=0.1))


def _stand_since(*controls: Path) -> tuple[list[str], Any]:
    """The sessions of these BIRDs that stand, and since when, in seconds of the day."""
    told = "".join(birdc.ask(control, "show protocols") for control in controls)
    found = re.findall(r"^(\S+) +BGP +\S+ +up +(?:\S+ )?(\S+) +Established", told, re.MULTILINE)
    return [name for name, _ in found], times_apart("\n".join(time for _, time in found))[1]


def test_a_session_that_bird_refuses_holds_up_no_other(clean: PopLab) -> None:
    """It is left out and told with BIRD's words; what is announced and withdrawn meanwhile reaches everybody else, and
    no session that stands is reset.
    """
    since = {(s.upstream, s.family): s.since for s in _sessions(clean)}
    bad = replace(clean.upstreams.all[0], name="bad", hold_s=1, neighbor4=IPv4Address("10.99.0.9"), neighbor6=None)
    secret = replace(bad, name="secret", hold_s=None, neighbor4=IPv4Address("10.99.0.10"), password_file="/none")
    clean.give(fresh(0), upstreams=(*clean.upstreams.all, bad, secret))
    for name in ("one", "two"):
        wait_until(partial(clean.upstreams.routes, name, COVER4), timeout_s=20, reason=f"{name} hears it all the same")
    wait_until(lambda: _refused(clean) == {"bad", "secret"}, timeout_s=20, reason="both are told")
    told = {s.upstream: s.error for s in _sessions(clean)}
    assert "old time" in told["bad"]
    assert "/none" in told["secret"]
    assert since.items() <= {(s.upstream, s.family): s.since for s in _sessions(clean)}.items()


def _sessions(pop: PopLab) -> tuple[SessionReport, ...]:
    return pop.control.report.sessions if pop.control.report is not None else ()


def _refused(pop: PopLab) -> set[str]:
    return {s.upstream for s in _sessions(pop) if s.state == "refused"}


def test_a_cable_that_flaps_is_told_of_a_few_times_and_not_at_each_flap(clean: PopLab) -> None:
    """Three cuts, one after the other: gone, back, gone; then the rest, in which the other upstream has the prefix."""
    clean.give(fresh(0))
    for name in ("one", "two"):
        wait_until(partial(clean.upstreams.routes, name, COVER4), timeout_s=20, reason=f"{name} hears it")
    heard, over = [True], threading.Event()

    def listen() -> None:
        while not over.wait(0.02):
            now = bool(clean.upstreams.routes("two", COVER4))
            if now is not heard[-1]:
                heard.append(now)

    listener = threading.Thread(target=listen)
    listener.start()
    far = clean.upstreams.namespace("two")
    try:
        for number in range(3):
            if number == 1:  # one loss is an accident
                wait_until(lambda: heard[-1] and len(heard) == 3, timeout_s=9, reason="two hears it again at once")
            ip.batch(["link set pop down"], netns=far)
            wait_until(lambda: not _stands(clean, "two"), timeout_s=9, reason="the session is lost")
            ip.batch(["link set pop up", "addr add fd00:99:1::1/126 dev pop nodad"], netns=far)
            wait_until(lambda: _stands(clean, "two"), timeout_s=10, reason="the session stands again")
        wait_until(lambda: "flaps" in _error(clean, "two"), timeout_s=20, reason="it is told")
    finally:
        over.set()
        listener.join()
        clean.kill_agent()  # the next one knows of no flaps
        clean.start_agent()
    assert heard == [True, False, True, False]
    assert clean.upstreams.routes("one", COVER4)
    wait_until(partial(clean.upstreams.routes, "two", COVER4), timeout_s=10, reason="two hears it again")


def _stands(pop: PopLab, name: str) -> bool:
    return any(s.upstream == name and s.family == 4 and s.state == "established" for s in _sessions(pop))


def _error(pop: PopLab, name: str) -> str:
    return next((s.error for s in _sessions(pop) if s.upstream == name and s.family == 4), "")


def test_scopes_reach_each_upstream(clean: PopLab) -> None:
    """Prepends and communities go to the upstream they are meant for; a withheld announcement goes away alone."""
    only = fresh(0)
    order = clean.order(only)
    scoped = [_scoped(a) for a in order.announcements]
    clean.control.give(replace(order, announcements=tuple(scoped)))
    text = wait_until(lambda: clean.upstreams.routes("one", COVER4), timeout_s=15, reason="it is announced to one")
    assert "33438 33438 33438" in text
    assert "(209,2009)" in text
    clean.wait_running(only.name)
    assert not clean.upstreams.routes("two", COVER4)


def _scoped(announcement: Announcement) -> Announcement:
    if announcement.prefix != COVER4:
        return announcement
    if announcement.upstream == "two":
        return replace(announcement, scope=Scope(mode=Mode.WITHHOLD))
    return replace(announcement, scope=Scope(prepend=2, communities=((209, 2009),)))


def test_a_killed_bird_costs_nothing() -> None:
    """A neighbour keeps the routes of a BIRD that was killed, or hung, until the agent's next one has told them again
    (RFC 4724), with BFD and without: its BFD is with a process that lives on, and whose own end is not noticed either.
    The kernel keeps what it learnt. A BIRD that is ended properly leaves nothing.
    """
    lab = PopLab("agtg", ("one", "nobfd"))
    try:
        lab.start_agent()
        only = instance(0)
        lab.give(only)
        lab.wait_running(only.name)
        wait_until(lambda: not _missing(lab), timeout_s=10, reason="it is announced")
        folder = lab.state / "bird"
        wait_until(lambda: len(files.read_told(folder / "bfd").up()) == 2, timeout_s=10, reason="BFD is up")
        lost: list[str] = []
        bird, worker = _bird(lab), files.read_told(folder / "bfd").worker
        os.kill(worker, signal.SIGKILL)

        def bfd_goes_on() -> bool:
            lost.extend(_missing(lab))
            told = files.read_told(folder / "bfd")
            return told.worker != worker and len(told.up()) == 2

        wait_until(bfd_goes_on, timeout_s=9, reason="a new worker has found its sessions", every_s=0.005)
        assert (lost, _bird(lab)) == ([], bird)
        os.kill(bird, signal.SIGKILL)

        def told_again() -> bool:
            lost.extend(_missing(lab))
            return all(lab.upstreams.log(n).count("Neighbor graceful restart done") == 2 for n in ("one", "nobfd"))

        wait_until(told_again, timeout_s=20, reason="a new BIRD has told them again", every_s=0.005)
        assert not lost
        wait_until(lambda: _established(lab), timeout_s=10, reason="all sessions are reported to stand")
        bird = _bird(lab)
        os.kill(bird, signal.SIGSTOP)

        def begun_anew() -> bool:
            lost.extend(_missing(lab))
            return _bird(lab) not in (bird, 0) and _established(lab)

        wait_until(begun_anew, timeout_s=20, reason="a BIRD that hangs is begun anew", every_s=0.02)
        assert not lost
        process.end(folder / "bird.pid")
        wait_until(lambda: not lab.upstreams.routes("nobfd", COVER4), timeout_s=20, reason="an orderly end withdraws")
    finally:
        lab.close()


def _missing(lab: PopLab) -> list[str]:
    """What neighbours, or the kernel, do not have any more."""
    wanted = [(u.name, p) for u in lab.upstreams.all for p in (COVER4, COVER6)]
    gone = [f"{prefix} at {name}" for name, prefix in wanted if not lab.upstreams.routes(name, prefix)]
    return gone if learnt_routes(lab) else [*gone, "a learnt route"]


def _bird(lab: PopLab) -> int:
    return process.alive(lab.state / "bird" / "bird.pid") or 0


def _established(lab: PopLab) -> bool:
    """By the newest report, which tells of the newest BIRD once that has answered."""
    report = lab.control.report
    return report is not None and [s.state for s in report.sessions] == ["established"] * 4
