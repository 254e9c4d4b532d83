"""What of a platform is still on this machine: the proof that `down` left nothing.

Comes in: a state folder and a name prefix. Goes out: one line for each process, namespace, link, mount, nftables table
or folder that is still there, outside the state folder. It only looks.
"""

import os
import subprocess
from pathlib import Path

from anypop.host import inventory, ip, netns


def left_behind(state: Path, prefix: str) -> list[str]:
    """One line for each thing found, sorted by kind; empty where nothing is left."""
    run = Path("/run/anypop") / prefix
    marks = (str(state), f"{run}/", f"{netns.RUN}/{prefix}-")
    found = [f"process {pid}: {words[:100]}" for pid, words in _processes() if any(mark in words for mark in marks)]
    found += [f"namespace {name}" for name in netns.names(f"{prefix}-")]
    found += [
        f"link {link['ifname']}" for link in ip.query("link", "show") if str(link["ifname"]).startswith(f"{prefix}-")
    ]
    found += [f"mount {mount}" for mount in inventory.mounts() if any(mount.startswith(mark) for mark in marks)]
    if run.exists():
        found.append(f"folder {run}")
    found += [
        f"nftables {line}" for line in _tables() if f"{line.split()[-1]}_".startswith((f"anypop_{prefix}_", prefix))
    ]
    return found


def _processes() -> list[tuple[int, str]]:
    callers = _ancestors()
    return sorted(
        (pid, b" ".join(words).decode(errors="replace"))
        for pid, words in inventory.command_lines()
        if pid not in callers
    )


def _ancestors() -> set[int]:
    """We and those who called us: a shell that runs `anypop down --state DIR` names the folder too."""
    pids, pid = set(), os.getpid()
    while pid > 1:
        pids.add(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            break
    return pids


def _tables() -> list[str]:
    done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()
