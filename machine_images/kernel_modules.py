"""Modules of an unpacked kernel, and in which order they are put in.

In: names of the wanted ones. Out: files, each behind those that it needs; the kernel's package leaves that list to a
program that its installation runs. Names that the kernel has built in are left out.
"""

import re
from collections.abc import Iterable
from pathlib import Path


def in_order(modules: Path, wanted: Iterable[str]) -> list[Path]:
    """`modules`: the folder lib/modules/VERSION."""
    files = {_plain(file.stem): file for file in modules.rglob("*.ko")}
    built_in = {_plain(Path(line).stem) for line in (modules / "modules.builtin").read_text().split()}
    found: dict[str, Path] = {}

    def put(name: str) -> None:
        if name in found or name in built_in:
            return
        if name not in files:
            raise SystemExit(f"this kernel has no module {name}")
        for other in needs(files[name].read_bytes()):
            put(other)
        found[name] = files[name]

    for name in wanted:
        put(_plain(name))
    return list(found.values())


def needs(module: bytes) -> list[str]:
    """What a module says of itself in its section .modinfo."""
    match = re.search(rb"\0depends=([^\0]*)\0", module)
    return [_plain(name) for name in match[1].decode().split(",") if name] if match else []


def _plain(name: str) -> str:
    return name.replace("-", "_")
