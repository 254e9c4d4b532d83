"""One platform for all lab tests of the story: brought up once, taken down at the end whatever happened."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from anypop.lab import platform
from anypop.lab.leftovers import left_behind

ROOT = Path(__file__).parents[2]
ARTICLE = ROOT / "topologies" / "article.yaml"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with tests on that platform come last, so that it does not stand, and take its part of the processor, while
    others run.
    """
    there = {item.path for item in items if "place" in getattr(item, "fixturenames", ())}
    items.sort(key=lambda item: item.path in there)


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder whose path is short enough for UNIX sockets below it."""
    folder = Path(tempfile.mkdtemp(prefix="anyp-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def place(short_folder: Path) -> Iterator[platform.Platform]:
    """A running platform on the article's internet, under a name of its own beside whatever else runs here. Without a
    supervisor: tests that end a program want it dead until they say `up`.
    """
    state, prefix = short_folder / "story", f"t{os.getpid() % 46656:x}"
    try:
        yield platform.up(
            ARTICLE,
            state=state,
            prefix=prefix,
            api_port=0,
            registry_port=0,
            progress=lambda _: None,
            supervised=False,
            store=True,
        )
    finally:
        platform.down(state, progress=lambda _: None, purge=True)
        assert left_behind(state, prefix) == []
