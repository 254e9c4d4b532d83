"""Debian's packages as folders: fetched once, kept, and unpacked without being installed.

In: names of packages. Out: where each is unpacked. What apt knows decides which version that is: `apt-get update` is
the caller's.
"""

import hashlib
import os
import subprocess
from pathlib import Path


def unpacked(name: str) -> Path:
    """The files of a package, in a folder that nobody may change."""
    asked = _run("apt-get", "download", "--print-uris", name).split()
    if len(asked) < 4:
        raise SystemExit(f"apt knows no package {name}: run apt-get update")
    kept, sha256 = _cache() / asked[1], asked[3].removeprefix("SHA256:")
    folder = kept.with_suffix(".d")
    if not kept.exists() or hashlib.sha256(kept.read_bytes()).hexdigest() != sha256:
        # apt checks what it fetches; it must not write where another run reads
        subprocess.run(["apt-get", "-q=2", "download", name], cwd=_cache(), check=True, stderr=subprocess.DEVNULL)
    if not folder.exists():
        half = folder.with_suffix(f".{os.getpid()}")
        subprocess.run(["dpkg", "-x", kept, half], check=True)
        half.rename(folder)
    return folder


def needed_by(name: str, start: str) -> str:
    """The package whose name begins with `start` that another one needs: the kernel behind its name without a version,
    say.
    """
    for line in _run("apt-cache", "depends", "--important", name).splitlines():
        words = line.split()
        if words[0] == "Depends:" and words[1].startswith(start):
            return words[1]
    raise SystemExit(f"package {name} needs none that begins with {start}")


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anypop" / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _run(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout
