"""Debian's packages as folders: fetched once, kept, and unpacked without being installed.

In: names of packages. Out: where each is unpacked. What apt knows decides which version that is: `apt-get update` is
the caller's.
"""

import hashlib
import os
import subprocess
from pathlib import Path


def unpacked(*names: str) -> dict[str, Path]:
    """The files of packages, by the package's name; each in a folder that nobody may change."""
    told = [line.split() for line in _run("apt-get", "download", "--print-uris", *names).splitlines()]
    found = {words[1].split("_")[0]: (words[1], words[3].removeprefix("SHA256:")) for words in told}
    if lacking := sorted({*names} - {*found}):
        raise SystemExit(f"apt does not know where {', '.join(lacking)} is: run apt-get update")
    fetched = [name for name, (file, sha256) in found.items() if not _is_kept(file, sha256)]
    if fetched:  # apt checks what it fetches
        subprocess.run(["apt-get", "-q=2", "download", *fetched], cwd=_cache(), check=True, stderr=subprocess.DEVNULL)
    return {name: _folder(_cache() / file) for name, (file, _) in found.items()}


def _is_kept(file: str, sha256: str) -> bool:
    kept = _cache() / file
    return kept.exists() and hashlib.sha256(kept.read_bytes()).hexdigest() == sha256


def _folder(package: Path) -> Path:
    folder = package.with_suffix(".d")
    if not folder.exists():
        half = folder.with_suffix(f".{os.getpid()}")
        subprocess.run(["dpkg", "-x", package, half], check=True)
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
