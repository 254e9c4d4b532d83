"""The lab's registries.conf: ours is made anew with every `up`, an operator's part of it stays."""

import tomllib
from pathlib import Path

from anypop.lab.podman import write_registries

_MIRROR = """
[[registry]]
location = "docker.io"
[[registry.mirror]]
location = "mirror.example:5000"
"""


def read(path: Path) -> tuple[list[str], list[str]]:
    """Where unqualified names are looked for, and the registries."""
    told = tomllib.loads(path.read_text())
    return told["unqualified-search-registries"], [one["location"] for one in told["registry"]]


def test_what_an_operator_adds_is_kept(tmp_path: Path) -> None:
    """Above or below ours, over any number of times and with another port; nothing of ours stays."""
    path = tmp_path / "registries.conf"
    write_registries(path, "127.0.0.1:5000")
    assert read(path) == (["docker.io"], ["127.0.0.1:5000"])
    path.write_text(path.read_text() + _MIRROR)
    for port in (5001, 5002):
        write_registries(path, f"127.0.0.1:{port}")
        assert read(path) == (["docker.io"], ["docker.io", f"127.0.0.1:{port}"])
    path.write_text('unqualified-search-registries = ["quay.io"]\n' + _MIRROR)
    for _ in range(2):
        write_registries(path, "127.0.0.1:5003")
        assert read(path) == (["quay.io"], ["docker.io", "127.0.0.1:5003"])


def test_what_an_earlier_version_wrote_is_ours(tmp_path: Path) -> None:
    """It had no marks."""
    path = tmp_path / "registries.conf"
    path.write_text(
        'unqualified-search-registries = ["docker.io"]\n\n[[registry]]\nlocation = "127.0.0.1:1"\ninsecure = true\n'
    )
    write_registries(path, "127.0.0.1:5000")
    assert read(path) == (["docker.io"], ["127.0.0.1:5000"])
