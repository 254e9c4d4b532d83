"""The recorded texts are what daemons print: a BIRD, an FRR, an OpenBGPD and a GoBGP are given the same routes now, and
what they print is read as the recorded texts are.
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.recorded.routes.judged import judged, texts
from tests.recorded.routes.record import Prints, recorded

NAMES = ("bird", "frr", "openbgpd", "gobgp")


@pytest.fixture(scope="module")
def printed() -> Iterator[dict[str, Prints]]:
    """All four at the same time: most of it is waiting for ages to differ."""
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as place, ThreadPoolExecutor(len(NAMES)) as pool:
        folders = {name: Path(place) / name for name in NAMES}
        Path(place).chmod(0o755)  # FRR reads its configuration as another user
        for folder in folders.values():
            folder.mkdir()
        yield dict(zip(NAMES, pool.map(recorded, NAMES, folders.values()), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_daemon_prints_today_what_is_recorded(printed: dict[str, Prints], name: str) -> None:
    """The same forms, and in each the same that is wrong: nothing, but where the form is silent."""
    known = texts()
    forms = printed[name]
    assert {f"{name}-{form}" for form in forms} == {form for form in known if form.startswith(f"{name}-")}
    for form, text in forms.items():
        full = f"{name}-{form}"
        now, then = (list(judged(full, these)) for these in (text, known[full]))
        assert [(v.name, v.read, v.fields, v.best, v.reason, v.marked) for v in now] == [
            (v.name, v.read, v.fields, v.best, v.reason, v.marked) for v in then
        ]
