"""The small guest that really boots (`script/make-test-image`), made once for all who ask on this machine.

What it does is in machine_images/test_guest: it serves its name over both families, echoes on port 7, has a shell on
its console, runs user data that is a script, and goes down by the power button.
"""

import fcntl
import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from anypop.model.codec import from_data
from anypop.model.machine import MachineImage

_TOP = Path(__file__).resolve().parent.parent
_FILES = {"disk": "disk.qcow2", "kernel": "kernel", "initrd": "initrd"}


def guest_image() -> tuple[MachineImage, dict[str, Path]]:
    """The image, and the file of each part. Made anew when what it is made by has changed."""
    made_by = sha256(b"".join(p.read_bytes() for p in sorted((_TOP / "machine_images").rglob("*")) if p.is_file()))
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anypop"
    folder = cache / f"test-guest-{made_by.hexdigest()[:16]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "test-guest.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            half = folder.with_suffix(".half")
            if not any(Path("/var/lib/apt/lists").glob("*_Packages*")):  # a machine whose lists were thrown away
                subprocess.run(["apt-get", "-q=2", "update"], check=True)
            subprocess.run([sys.executable, "-m", "machine_images.test_image", "--out", half], cwd=_TOP, check=True)
            half.rename(folder)
    told = json.loads((folder / "image.json").read_text())
    told["parts"] = [{key: value for key, value in part.items() if key != "file"} for part in told["parts"]]
    return from_data(MachineImage, told), {name: folder / file for name, file in _FILES.items()}
