"""Logs: how many lines a second are followed, and how soon a hundred thousand of them are searched and shown.

Rows: `log_lines_per_s` (a log in conmon's form is read by the agent's own code; `tail -f` reads it into a pipe),
`log_search_100k_ms` (a word that is in one line of them, beside `grep`), `log_100k_lines_s` (until the page of logs of
a real control has them all in a browser, beside a program that reads the file's lines; a row of `portal` too). The
files are there before, so the figures are those of the readers.
"""

import asyncio
import contextlib
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from playwright.sync_api import expect
from tests.browsed import chromium, serving
from tests.contract.test_log_search import Place
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick
from tests.served import served
from tests.unit.test_log_search import entry

from anypop.agent import log_streams
from anypop.agent.log_names import LOG
from anypop.agent.observe.log_reader import read_log
from anypop.control.roles import Role
from anypop.model.streams import FindRequest, LogRequest
from bench.harness import Row, row

LINES = 100_000
RUNS = 5
WAIT_MS = 120_000
WORD = "needle"


def rows() -> Iterable[Row]:
    yield from reading()
    yield from showing()


def reading() -> Iterable[Row]:
    """Rows of a host."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / LOG).write_bytes(_lines(time.time_ns()))
        ours = [LINES / _timed(lambda: asyncio.run(_followed(folder))) for _ in range(RUNS)]
        theirs = [LINES / _timed(lambda: _tailed(folder / LOG)) for _ in range(RUNS)]
        yield row("log_lines_per_s", ours, unit="lines/s", against="tail -f", floor=theirs)
        found = [1000 * _timed(lambda: asyncio.run(_found(folder))) for _ in range(RUNS)]
        peer = [1000 * _timed(lambda: _grepped(folder / LOG)) for _ in range(RUNS)]
        yield row("log_search_100k_ms", found, unit="ms", against="grep", floor=peer)


def showing() -> Iterable[Row]:
    """The row of the portal."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as opened:
        folder = Path(name)
        for part in ("world", "files"):
            (folder / part).mkdir()
        world = opened.enter_context(World(folder / "world", now=time.time()))
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "ada", Role.OWNER, PASSWORD)
        world.create()
        place = Place(world, opened.enter_context(served(world)), folder / "files")
        url = opened.enter_context(serving(world))
        one = min(place.mine)
        place.mine[one].write_bytes(_lines(time.time_ns() - 60_000_000_000))
        page = opened.enter_context(chromium()).new_context(ignore_https_errors=True).new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(f"{url}/portal/")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/workloads")
        taken = []
        for _ in range(3):
            page.goto(f"{url}/portal/stacks/default/logs?workload=fun&instance={one}")
            expect(page.locator("#log-state")).to_have_text("Live", timeout=WAIT_MS)
            begun = time.monotonic()
            page.evaluate("document.getElementById('logs').dispatchEvent(new Event('load-all'))")
            expect(page.locator("#log-count")).to_contain_text(f"{LINES:,} lines", timeout=WAIT_MS)
            taken.append(time.monotonic() - begun)
        floor = [_timed(lambda: _read(place.mine[one])) for _ in range(RUNS)]
        yield row("log_100k_lines_s", taken, unit="s", against="reading its lines", floor=floor)
        for agent in place.agents.values():
            agent.close()


def _lines(begin: int) -> bytes:
    said = '{"level":"info","msg":"request %d was answered","ms":12}'
    lines = [entry(said % n, begin + n * 1000) for n in range(LINES)]
    lines[LINES // 2] = entry(f"the {WORD}", begin + LINES // 2 * 1000)
    return b"".join(lines)


def _timed(act: Callable[[], None]) -> float:
    begun = time.monotonic()
    act()
    return time.monotonic() - begun


def _read(log: Path) -> None:
    with log.open(encoding="utf-8") as lines:
        assert sum(1 for _ in lines) == LINES


async def _followed(folder: Path) -> None:
    """Until the last line is there, as `anypop logs -f` has it from the host."""
    wanted = LogRequest(uid="u", container="web", follow=True)
    count = 0
    async with contextlib.aclosing(read_log(folder, wanted, os.getpid())) as pieces:
        async for piece in pieces:
            count += piece.count(b"\n")
            if count >= LINES:
                return


def _tailed(log: Path) -> None:
    with subprocess.Popen(["tail", "-n", "+1", "-f", log], stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        count, end = 0, program.stdout.fileno()
        while count < LINES:
            count += os.read(end, 1 << 16).count(b"\n")
        program.kill()


async def _found(folder: Path) -> None:
    wanted = FindRequest(uids=("u",), text=WORD)
    frames = [frame async for frame in log_streams.find(wanted, lambda _: {("u", "web"): [folder]})]
    assert WORD in b"".join(frames).decode()


def _grepped(log: Path) -> None:
    subprocess.run(["grep", "-ic", WORD, log], check=True, stdout=subprocess.DEVNULL)
