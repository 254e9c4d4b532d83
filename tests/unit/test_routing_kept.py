"""What is worked out once and read again: compiled kernels and graphs, in folders that nobody else can write."""

import linecache
import os
import subprocess
import sys
import weakref
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anypop.advice import graph, kept_graph
from anypop.routing.engine import compiled, kernel_files, native
from anypop.routing.engine.propagate import Engine
from anypop.routing.internet.places import Places
from anypop.routing.internet.relationships import read_relationships
from anypop.routing.internet.sites import Internet
from anypop.routing.internet.world import build_internet
from anypop.routing.kept_files import own_folder, trusted

TEXT = "1|2|-1\n2|3|-1\n3|1|-1\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own, in which every graph counts as large."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(kept_graph, "LARGE", 1)
    return tmp_path / "cache" / "anypop" / "graphs"


def files(folder: Path, cities: str = "1,LHR JFK\n2,AMS\n") -> graph.Sources:
    (folder / "rel.txt").write_text(TEXT)
    (folder / "cities.csv").write_text(cities)
    return graph.Sources(graph=folder / "rel.txt", footprint=folder / "cities.csv")


def arrays(internet: Internet) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in kept_graph._arrays(internet).items()}


def test_a_graph_from_the_cache_is_the_graph_from_its_files(cache: Path, tmp_path: Path) -> None:
    """Every array, the cities and the warnings; and compiled code may write to none of the text's own bytes."""
    first = graph.load(files(tmp_path))
    (kept,) = cache.iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    second = graph.load(files(tmp_path))
    assert arrays(second.internet) == arrays(first.internet) and second.internet.city == first.internet.city
    assert second.warnings == first.warnings != ()
    second.internet.region[:] = 0
    assert arrays(graph.load(files(tmp_path)).internet) == arrays(first.internet)


def test_a_changed_footprint_is_another_graph(cache: Path, tmp_path: Path) -> None:
    """What is kept is known by its content, not by its name."""
    graph.load(files(tmp_path))
    assert graph.load(files(tmp_path, "2,SYD\n")).internet.city == ("", "SYD", "")
    assert len(list(cache.iterdir())) == 2


@pytest.mark.parametrize("harm", ["cut", "writable", "link", "empty", "nonsense"])
def test_a_file_that_cannot_be_trusted_is_not_read(cache: Path, tmp_path: Path, harm: str) -> None:
    """It is loaded from the text again."""
    first = graph.load(files(tmp_path))
    (kept,) = cache.iterdir()
    data = kept.read_bytes()
    match harm:
        case "cut":
            kept.write_bytes(data[:-64])
        case "empty":
            kept.write_bytes(b"")
        case "nonsense":
            kept.write_bytes(b"\xff" * 200)
        case "writable":
            kept.chmod(0o666)
        case "link":
            kept.rename(tmp_path / "elsewhere")
            kept.symlink_to(tmp_path / "elsewhere")
    assert kept_graph.kept(kept.name) is None
    assert arrays(graph.load(files(tmp_path)).internet) == arrays(first.internet)


def test_only_so_many_graphs_are_kept(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that only grows fills a disk."""
    monkeypatch.setattr(kept_graph, "MOST", 2)
    for city in ("AMS", "LHR", "SYD", "JFK"):
        graph.load(files(tmp_path, f"2,{city}\n"))
    assert len(list(cache.iterdir())) == 2


def test_a_folder_that_others_may_write_is_nobodys_own(cache: Path, tmp_path: Path) -> None:
    """Machine code and checked arrays are taken as they are."""
    folder = own_folder("kernels-test")
    assert folder is not None and trusted(folder)
    folder.chmod(0o777)
    assert own_folder("kernels-test") is None


_KERNELS = """
from anypop.routing.engine.compiled import kernel
FACTOR = 2
@kernel
def times(value):
    return value * FACTOR
@kernel
def multiplied(values):
    for i in range(len(values)):
        values[i] = times(values[i])
"""


def kernels(folder: Path, text: str) -> Any:
    """A fresh import of these kernels."""
    (folder / "some_kernels.py").write_text(text)
    linecache.clearcache()
    loader = SourceFileLoader("some_kernels", str(folder / "some_kernels.py"))
    spec = spec_from_loader("some_kernels", loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def run_kernel(folder: Path, text: str = _KERNELS) -> tuple[list[int], int]:
    """What a fresh import of these kernels makes of 0, 1, 2, and how often it found the code compiled."""
    module = kernels(folder, text)
    values = np.arange(3)
    module.multiplied(values)
    return values.tolist(), sum(module.multiplied.ready.stats.cache_hits.values())


def test_a_kernel_is_compiled_once_and_where_its_file_is_broken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by each for himself where there is no place for files."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # no old module is read for a new text
    monkeypatch.setattr(compiled, "folder", lambda: tmp_path / "kernels")
    assert [run_kernel(tmp_path)[1] for _ in range(2)] == [0, 1]
    for file in (tmp_path / "kernels").glob("*.nbc"):
        file.write_bytes(file.read_bytes()[:100])
    assert run_kernel(tmp_path) == ([0, 2, 4], 0)
    monkeypatch.setattr(compiled, "folder", lambda: Path("/proc/no-such-folder"))
    assert run_kernel(tmp_path) == ([0, 2, 4], 0)


def test_a_kernel_is_compiled_anew_when_what_it_uses_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kernel that it calls, and a number of its module, have become part of it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(compiled, "folder", lambda: tmp_path / "kernels")
    assert run_kernel(tmp_path) == ([0, 2, 4], 0)
    assert run_kernel(tmp_path, _KERNELS.replace("value * FACTOR", "value + FACTOR")) == ([2, 3, 4], 0)
    assert run_kernel(tmp_path, _KERNELS.replace("FACTOR = 2", "FACTOR = 5")) == ([0, 5, 10], 0)
    assert run_kernel(tmp_path, _KERNELS.replace("FACTOR = 2", "FACTOR = 5")) == ([0, 5, 10], 1)


_ALONE = """
import sys
from pathlib import Path
import numpy as np
from anypop.routing.engine import compiled
compiled.folder = lambda: Path(sys.argv[1])
from some_kernels import multiplied
values, others = np.arange(3), np.arange(2)
for given in (values, values, others):
    multiplied(given)
print(values.tolist(), others.tolist(), "numba" in sys.modules)
"""


def test_a_kernel_kept_as_bare_machine_code_needs_no_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does the same, to what it was given before and to what is new; a file that is cut is as if there were none."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(compiled, "folder", lambda: tmp_path)
    kept = kernels(tmp_path, _KERNELS)
    assert compiled.keep(kept.multiplied, (np.arange(5),), tmp_path)
    (file,) = tmp_path.glob("multiplied.*.native")
    loaded = native.read(file)
    assert loaded is not None and loaded.takes((np.arange(2),)) and not loaded.takes((np.arange(2.0),))

    given = np.arange(3)
    loaded(given)
    held = weakref.ref(given)
    del given
    assert held() is not None, "what it was given last it knows again"
    native.forget()
    assert held() is None, "and lets go of, or the graph of an engine that is gone stays"

    def alone() -> str:
        done = subprocess.run(
            [sys.executable, "-B", "-c", _ALONE, tmp_path],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(tmp_path)},
        )
        return done.stdout.strip()

    assert alone() == "[0, 4, 8] [0, 2] False"
    file.write_bytes(file.read_bytes()[:-8])
    assert native.read(file) is None and alone() == "[0, 4, 8] [0, 2] True"


def test_an_engine_that_is_gone_takes_what_kernels_were_given_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its graph is most of a process's memory."""
    forgotten: list[str] = []
    monkeypatch.setattr(native, "forget", lambda: forgotten.append("all"))
    rows = read_relationships(b"1|2|-1\n", "f")
    engine = Engine(build_internet(rows, Places(cities={})))
    twin = engine.twin()
    assert not forgotten
    del twin
    assert forgotten == ["all"]
    del engine
    assert forgotten == ["all"] * 2


def test_a_folder_is_whole_for_one_source_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can only read it must find all in it."""
    assert not kernel_files.is_whole(tmp_path)
    kernel_files.set_whole(tmp_path)
    assert kernel_files.is_whole(tmp_path)
    monkeypatch.setattr(kernel_files, "every_source", lambda: "another")
    assert not kernel_files.is_whole(tmp_path)
