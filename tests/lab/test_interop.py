"""Our speaker beside FRR, GoBGP, OpenBGPD and StayRTR, each as its users run it: sessions with every parameter, what is
told and taken back, what is taken in.
"""

import fcntl
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from anypop.agent.act.bgp import loading
from anypop.agent.act.bgp.bird import Bird
from anypop.agent.act.bgp.config import render
from anypop.agent.act.network.learnt import is_prepared, prepare
from anypop.agent.act.network.netlink import Netlink
from anypop.agent.bfd import files
from anypop.agent.decide.elements import Export
from anypop.agent.naming import LEARNT_TABLE
from anypop.host import birdc, netns, process
from anypop.model.announce import Prefix
from anypop.model.errors import WorldError
from anypop.model.extended_communities import read
from anypop.model.peering import RpkiCache
from anypop.model.report import SessionReport
from anypop.model.scopes import community_text
from tests.interop_lab import ANYCAST4, ANYCAST6, FRR, GOBGP, OPENBGPD, OWN, InteropLab
from tests.wait import wait_until

pytestmark = pytest.mark.lab

DAEMONS = (FRR, GOBGP, OPENBGPD)
# Route target and route origin, of AS numbers of both lengths and of an address
EXTENDED = tuple(map(read, ("rt:65010:4200000000", "ro:65010:7", "rt:4200000001:9", "ro:192.0.2.1:5")))


@pytest.fixture(scope="module")
def lab() -> Iterator[InteropLab]:
    """All sessions up, and every neighbour telling one honest and one bad prefix of each family."""
    lab = InteropLab(f"io{os.getpid() % 1296:x}")
    try:
        lab.open()
        wait_until(lambda: _down(lab) == [], timeout_s=20, reason="all sessions stand")
        lab.gobgp_tells("8.8.2.0/24", "192.168.0.0/16", "2600:2::/32", "fd00::/8")
        yield lab
    finally:
        lab.close()


def _down(lab: InteropLab) -> list[SessionReport | None]:
    seen = lab.look().sessions
    return [s for s in seen if s.state != "established"] if len(seen) == 6 else [None]


def _all(**scope: object) -> list[Export]:
    def exports(upstream: str, families: str) -> list[Export]:
        return [
            Export(prefix=prefix, upstream=upstream, **scope)  # type: ignore[arg-type]
            for prefix in (ANYCAST4, ANYCAST6)
            if str(prefix.version) in families
        ]

    return [
        *exports(FRR, "4"), *exports("frr-link", "6"), *exports(GOBGP, "46"), *exports(OPENBGPD, "4"),
        *exports("openbgpd-6", "6"),
    ]  # fmt: skip


def _learnt(lab: InteropLab) -> set[str]:
    text = birdc.ask(lab.folder / "bird" / "bird.ctl", "show route where source = RTS_BGP")
    return {line.split()[0] for line in text.splitlines() if "/" in line.split(" ")[0]}


def test_each_daemon_has_the_session_that_was_ordered(lab: InteropLab) -> None:
    """They stand, by password in five of six; what the other side says of role, times, TTL and BFD is as ordered."""
    frr = lab.frr_says("show bgp neighbors 89.0.1.2 json")["89.0.1.2"]
    assert (frr["remoteRole"], frr["bgpTimerHoldTimeMsecs"]) == ("customer", 9000)
    wait_until(
        lambda: lab.frr_says("show bfd peers json")[0]["status"] == "up", timeout_s=20, reason="BFD with FRR is up"
    )
    assert lab.frr_says("show bfd peers json")[0]["remote-transmit-interval"] == 100
    gobgp = json.loads(lab.run(GOBGP, "gobgp", "neighbor", "89.0.2.2", "-j"))
    assert gobgp["timers"]["state"]["negotiated_hold_time"] == 30
    open6 = lab.openbgpd_says("show", "neighbor", "2a0e:d000:3::2")["neighbors"][0]
    assert "customer" in str(open6)


@pytest.mark.parametrize("name", DAEMONS)
def test_what_is_announced_arrives_with_its_scope_and_what_is_withdrawn_goes(lab: InteropLab, name: str) -> None:
    """Prepends, communities of all kinds, graceful shutdown, withdrawal, in both families, at every daemon."""
    lab.say(
        *_all(prepend=2, communities=((65010, 5),), large_communities=((OWN, 1, 2),), extended_communities=EXTENDED)
    )
    for prefix in (ANYCAST4, ANYCAST6):
        heard = wait_until(partial(lab.heard, name, prefix), timeout_s=20, reason=f"{name} hears {prefix}")
        assert heard.path == (OWN,) * 3
        assert set(heard.communities) == {"65010:5", f"{OWN}:1:2", *map(community_text, EXTENDED)}
    lab.say(*_all(graceful=True))
    for prefix in (ANYCAST4, ANYCAST6):
        wait_until(partial(_fades, lab, name, prefix), timeout_s=20, reason=f"{name} hears that {prefix} fades")
    lab.say()
    for prefix in (ANYCAST4, ANYCAST6):
        wait_until(partial(_lost, lab, name, prefix), timeout_s=9, reason=f"{name} has lost {prefix}")


def _lost(lab: InteropLab, name: str, prefix: Prefix) -> bool:
    return lab.heard(name, prefix) is None


def _fades(lab: InteropLab, name: str, prefix: Prefix) -> bool:
    heard = lab.heard(name, prefix)
    words = {"65535:0", "graceful-shutdown", "gracefulShutdown", "GRACEFUL_SHUTDOWN"}
    return heard is not None and bool(words & set(heard.communities))


def test_honest_routes_of_each_daemon_come_in_and_bad_ones_do_not(lab: InteropLab) -> None:
    honest = {f"8.8.{n}.0/24" for n in (1, 2, 3)} | {f"2600:{n}::/32" for n in (1, 2, 3)}
    wait_until(lambda: _learnt(lab) >= honest, timeout_s=9, reason="all honest routes are there")
    assert _learnt(lab) == honest


def test_another_password_ends_the_session_and_the_right_one_brings_it_back(lab: InteropLab) -> None:
    """The file alone is changed; the speaker takes it over with its next look, and nobody else's session moves."""
    secret = lab.folder / "frr.password"
    right = secret.read_text()
    since = {(s.upstream, s.family): s.since for s in lab.look().sessions}
    secret.write_text("another\n")
    wait_until(lambda: lab.look().sessions and _state(lab, FRR) != "established", timeout_s=9, reason="FRR is lost")
    assert "another" not in str(lab.look())
    secret.write_text(right)
    wait_until(lambda: _down(lab) == [], timeout_s=20, reason="all sessions stand again")
    after = {(s.upstream, s.family): s.since for s in lab.look().sessions}
    assert {key for key in since if since[key] != after[key]} == {(FRR, 4)}


def _state(lab: InteropLab, name: str) -> str:
    return next(s.state for s in lab.look().sessions if s.upstream == name)


def test_who_tells_too_much_is_shut_out_for_a_time(lab: InteropLab) -> None:
    """Told in BIRD's words; nobody else notices; after the pause he may try again."""
    lab.limit(GOBGP, most=5, pause_s=1.0)
    lab.gobgp_tells(*(f"9.{n}.0.0/16" for n in range(10)))
    wait_until(lambda: "limit" in _error(lab, GOBGP), timeout_s=9, reason="GoBGP is shut out")
    assert _state(lab, OPENBGPD) == _state(lab, "frr-link") == "established"
    lab.gobgp_takes_back(*(f"9.{n}.0.0/16" for n in range(10)))
    wait_until(lambda: _down(lab) == [], timeout_s=20, reason="GoBGP is back")
    assert "9.1.0.0/16" not in _learnt(lab)


def _error(lab: InteropLab, name: str) -> str:
    return next(s.error for s in lab.look().sessions if s.upstream == name and s.family == 4)


def test_what_rpki_calls_invalid_is_not_taken_and_our_own_is_told(lab: InteropLab) -> None:
    """A real cache: one statement against a neighbour's prefix and one against ours. When it is mended, so is all that
    follows; when the cache dies, that is told.
    """
    roas = lab.folder / "roas.json"
    wrong = [("8.8.1.0/24", 1), (str(ANYCAST4), 1), ("8.8.3.0/24", 65020)]
    _write(roas, wrong)
    lab.start_cache(roas)
    lab.say(*_all(), rpki=(RpkiCache(host="127.0.0.1", port=3323),))
    wait_until(lambda: "8.8.1.0/24" not in _learnt(lab), timeout_s=10, reason="the invalid route is gone")
    assert {"8.8.2.0/24", "8.8.3.0/24"} <= _learnt(lab)
    told = wait_until(lambda: lab.look().error, timeout_s=20, reason="our own is told")
    assert str(ANYCAST4) in told
    assert str(ANYCAST6) not in told
    wait_until(lambda: _down(lab) == [], timeout_s=10, reason="no session minds")
    process.end(lab.folder / "stayrtr.pid", grace_s=0)
    wait_until(lambda: "does not answer" in lab.look().error, timeout_s=10, reason="the dead cache is told")
    lab.start_cache(roas)
    wait_until(lambda: "does not answer" not in lab.look().error, timeout_s=15, reason="the cache is found again")
    lab.say(*_all(), rpki=())
    wait_until(lambda: "8.8.1.0/24" in _learnt(lab), timeout_s=9, reason="without a cache it is taken again")


def _write(file: Path, statements: list[tuple[str, int]]) -> None:
    rows = [{"prefix": p, "maxLength": int(p.split("/")[1]), "asn": f"AS{asn}", "ta": "t"} for p, asn in statements]
    file.write_text(json.dumps({"roas": rows}))


def test_a_silent_neighbour_is_noticed_by_bfd_long_before_its_hold_time(lab: InteropLab) -> None:
    """FRR is stopped, as by a power cut; its hold time is 9 s, its BFD 5 times 100 ms."""
    wait_until(lambda: _state(lab, FRR) == "established", timeout_s=10, reason="FRR's session stands")
    pids = [process.alive(lab.folder / f"frr-{d}.pid") for d in ("bgpd", "bfdd")]
    assert all(pids)
    for pid in pids:
        os.kill(pid or 0, signal.SIGSTOP)
    try:
        wait_until(lambda: "8.8.1.0/24" not in _learnt(lab), timeout_s=3, reason="BFD has noticed")
    finally:
        for pid in pids:
            os.kill(pid or 0, signal.SIGCONT)


def test_an_upgrade_resets_no_session_and_clears_up_behind_it(lab: InteropLab) -> None:
    """An earlier version took everything, by another limit, into the main table, and BFD was BIRD's. The new
    configuration is loaded over it: every session stands on, FRR notices no end of its BFD, routes move to their own
    table, and nothing is left where they were.
    """
    new = (lab.folder / "bird" / "bird.conf").read_text()
    old = re.sub(r"import filter from_\w+;", "import all;", new).replace("action disable", "action restart")
    # BFD was BIRD's own, with its neighbours' as it is now
    times = "min rx interval 100 ms; min tx interval 100 ms; multiplier 5;"
    old = old.replace("protocol device", f'protocol bfd {{ interface "*" {{ {times} }}; }}\nprotocol device')
    old = re.sub(r"(protocol bgp u4_frr \{.*?)bfd off;", r"\1bfd on;", old, flags=re.DOTALL)
    # it knew no multihop either, and no two protocols may have one kernel table
    old = re.sub(r"protocol kernel operator\d \{.*?\n\}\n", "", old, flags=re.DOTALL)
    (lab.folder / "old.conf").write_text(re.sub(r"\tkernel table \d+;\n", "", old))
    process.end(lab.folder / "bird" / "bfd" / "bfd.pid", grace_s=0, group=True)
    # its worker has the port, for which BIRD asks but once
    wait_until(lambda: _is_free(lab.folder / "bird" / "bfd" / "lock"), timeout_s=9, reason="our own BFD is gone")
    birdc.ask(lab.folder / "bird" / "bird.ctl", f'configure "{lab.folder / "old.conf"}"')
    wait_until(lambda: _in_kernel(lab, "main"), timeout_s=20, reason="the earlier version has learnt")
    wait_until(lambda: _bfd_of_bird(lab), timeout_s=15, reason="FRR and BIRD have BFD")
    wait_until(lambda: _down(lab) == [], timeout_s=15, reason="all sessions stand")
    since, ends = {(s.upstream, s.family): s.since for s in lab.look().sessions}, _ends_of_bfd(lab)
    lab.say()
    wait_until(lambda: _in_kernel(lab, str(LEARNT_TABLE)), timeout_s=9, reason="routes stand in their own table")
    with netns.inside(lab.pop), Netlink() as net:
        assert not is_prepared(net, ())
        prepare(net, ())
        assert is_prepared(net, ())
    assert not _in_kernel(lab, "main")
    wait_until(lambda: _bfd_of_our_own(lab), timeout_s=9, reason="the process has taken over")
    assert {(s.upstream, s.family): s.since for s in lab.look().sessions} == since
    assert _ends_of_bfd(lab) == ends


def _is_free(lock: Path) -> bool:
    with lock.open() as file, suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _bfd_of_bird(lab: InteropLab) -> bool:
    return " Up " in birdc.ask(lab.folder / "bird" / "bird.ctl", "show bfd sessions")


def _bfd_of_our_own(lab: InteropLab) -> bool:
    return bool(files.read_told(lab.folder / "bird" / "bfd").up())


def _ends_of_bfd(lab: InteropLab) -> int:
    """How often FRR's BFD session has ended."""
    return int(lab.frr_says("show bfd peers counters json")[0]["session-down"])


def _in_kernel(lab: InteropLab, table: str) -> bool:
    with suppress(WorldError):  # a table that never had a route is none
        argv = ["ip", "route", "show", "table", table, "proto", "bird"]
        return bool(process.run(netns.command(lab.pop, *argv)).strip())
    return False


def test_a_configuration_that_costs_what_should_stand_is_taken_back(
    lab: InteropLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """BIRD's parser has nothing against it: by mistake it tells OpenBGPD nothing more, which was to hear the same as
    before. The one before runs again, OpenBGPD has its prefixes, and no session was reset.
    """
    lab.say(*_all())
    wait_until(lambda: _down(lab) == [], timeout_s=20, reason="all sessions stand")
    wait_until(lambda: lab.heard(OPENBGPD, ANYCAST4), timeout_s=20, reason="OpenBGPD hears of it")
    before, since = lab.look().config, {(s.upstream, s.family): s.since for s in lab.look().sessions}

    def wrongly(*args: Any, **settings: Any) -> str:
        text = render(*args, **settings)
        return re.sub(r"(filter to_u4_openbgpd \{).*?\n\treject;", r"\1\n\treject;", text, flags=re.DOTALL)

    monkeypatch.setattr("anypop.agent.act.bgp.bird.render", wrongly)
    monkeypatch.setattr(loading, "WELL_WITHIN_S", 0.3)
    with pytest.raises(WorldError, match=r"u4_openbgpd tells 0 prefixes, of 1 .* the one before runs again"):
        lab.say(*_all(prepend=1))
    assert lab.look().config == before
    wait_until(lambda: lab.heard(OPENBGPD, ANYCAST4), timeout_s=9, reason="OpenBGPD hears of it again")
    assert {(s.upstream, s.family): s.since for s in lab.look().sessions} == since


def test_a_configuration_that_nobody_confirms_does_not_stay(lab: InteropLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who loads it dies before he has seen that all is well: BIRD itself goes back, and the next agent says it anew."""
    lab.say(*_all())
    before = lab.look().config
    asks = birdc.ask

    def dies(control: Path, *commands: str, **settings: Any) -> str:
        if "configure confirm" in commands:
            raise KeyboardInterrupt
        return asks(control, *commands, **settings)

    monkeypatch.setattr(loading, "UNDO_S", 1)
    monkeypatch.setattr(birdc, "ask", dies)
    with pytest.raises(KeyboardInterrupt):
        lab.say(*_all(prepend=1))
    monkeypatch.undo()
    wanted, lab.bird = lab.config, Bird(lab.folder / "bird")
    wait_until(lambda: lab.look().config == before, timeout_s=9, reason="BIRD has gone back by itself")
    lab.say(*wanted.exports)
    assert lab.look().config == wanted
    wait_until(lambda: _path(lab, OPENBGPD) == (OWN, OWN), timeout_s=20, reason="OpenBGPD hears of the prepend")


def _path(lab: InteropLab, name: str) -> tuple[int, ...]:
    heard = lab.heard(name, ANYCAST4)
    return heard.path if heard is not None else ()
