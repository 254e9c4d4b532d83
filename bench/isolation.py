"""Isolation: what comes through that must not, each count beside its control in the same run, so that no zero is empty.

In each row `against` is the same scene with the rule or the mechanism taken out, where the count has to be above 0;
the scenes see to it that legitimate traffic arrives at the same time. A scene raises where its control has failed.
"""

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests.contract.test_api_process import running
from tests.half_open import WITHOUT, half_open

from anypop.lab import platform
from bench.deploy import TOPOLOGY
from bench.forged import forged_sources
from bench.harness import Row, row
from bench.hostile_scene import hostile_routes
from bench.neighbour_scene import neighbour_requests
from bench.packet_scenes import large_answers_hanging, udp_answers_wrong_source

HALF_REQUESTS = 1200
# without deadlines and bounds each costs a quarter of a MiB: fewer show it
HALF_REQUESTS_WITHOUT = 400


def rows() -> Iterable[Row]:
    """Rows `forged_sources_arrived`, `hostile_routes_taken`, `large_answers_hanging`, `udp_answers_wrong_source`,
    `neighbour_requests_failed` and `half_open_memory`.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as name:
        folder = Path(name)
        yield _forged(prefix)
        yield _routes(prefix, folder / "routes")
        for scene in (large_answers_hanging, udp_answers_wrong_source):
            found = scene()
            yield _zero(scene.__name__, found.wrong, found.wrong_without, "answers", f"of {found.asked}")
        yield _neighbour(prefix, folder / "s")
        yield _half_open(folder)


def _forged(prefix: str) -> Row:
    found = forged_sources(prefix)
    assert not found.lost, f"traffic that must arrive was lost: {found.lost}"
    told = f"of {found.attempts}; {found.proper} proper packets arrived"
    return _zero("forged_sources_arrived", len(found.arrived), len(found.without), "packets", told)


def _routes(prefix: str, folder: Path) -> Row:
    found = hostile_routes(prefix, folder)
    assert found.arrived == found.honest, f"{found.arrived} of {found.honest} honest routes came in"
    told = f"of {found.kinds}; {found.honest} honest routes came in"
    return _zero("hostile_routes_taken", len(found.taken), found.taken_without_filter, "routes", told)


def _neighbour(prefix: str, state: Path) -> Row:
    try:
        place = platform.up(
            TOPOLOGY, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print, supervised=False
        )
        found = neighbour_requests(place)
    finally:
        platform.down(state, progress=print, purge=True)
    told = f"of {found.asked}; the same by the operator"
    return _zero("neighbour_requests_failed", found.failed, found.failed_without, "requests", told)


def _half_open(folder: Path) -> Row:
    grown = []
    for name, program, count in (
        ("with", ("-m", "anypop.api"), HALF_REQUESTS),
        ("without", ("-c", WITHOUT), HALF_REQUESTS_WITHOUT),
    ):
        (folder / name).mkdir()
        with running(folder / name, program=program) as process:
            found = half_open(("127.0.0.1", process.port), pid=process.child.pid, count=count)
        grown.append(found.grown_mb)
    against = f"{HALF_REQUESTS_WITHOUT} half requests without deadlines and bounds"
    return row("half_open_memory", grown[:1], unit="MB", against=against, floor=grown[1:], below=20)


def _zero(name: str, wrong: int, without: int, unit: str, told: str) -> Row:
    assert without > 0, f"{name}: nothing comes through without the rule either, so a zero says nothing"
    against = f"without the rule ({told})"
    return row(name, [float(wrong)], unit=unit, against=against, floor=[float(without)], below=0.5)
