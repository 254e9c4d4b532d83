"""A program: cloud-init itself takes a seed, with files, a network and a host name of its own. It tells what came of
it.

In: on its command line a folder, where cloud-init's package is unpacked, and the guest's hardware address; on its input
the seed, and the address with which its network would begin. Out: JSON. It is run within `unshare --net --mount --uts`:
what cloud-init changes is in layers over the machine's folders, and gone with this process.
"""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

from anypop.agent.naming import RESOLVER6
from tests.wait import wait_until

METADATA = "169.254.169.254"
_RUN = "import sys; from cloudinit.cmd.main import main; sys.exit(main(['cloud-init', *sys.argv[1:]]))"


class Ready(BaseHTTPRequestHandler):
    """Stands for the metadata service."""

    asked: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def _do(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def main() -> None:
    folder, package, mac = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    told = json.load(sys.stdin)
    _do("mount", "-t", "tmpfs", "none", str(folder))
    for name in ("etc", "root", "var"):
        for part in ("up", "work"):
            (folder / name / part).mkdir(parents=True)
        layers = f"lowerdir=/{name},upperdir={folder}/{name}/up,workdir={folder}/{name}/work"
        _do("mount", "-t", "overlay", "none", "-o", layers, f"/{name}")
    _do("ip", *f"link add eth0 address {mac} type veth peer name far".split())
    Path("/proc/sys/net/ipv6/conf/eth0/dad_transmits").write_text("3")  # tentative still when the boot hook is run
    for line in (
        "link set lo up", f"addr add {METADATA}/32 dev far",
        "link set far up", "link set eth0 up", *(f"addr add {address} dev eth0" for address in told["addresses"]),
    ):  # fmt: skip
        _do("ip", *line.split())
    _do("mount", "-t", "sysfs", "none", "/sys")  # the one of this network
    # what it makes of the network's configuration is asked of its renderers; here nobody would read that
    Path("/var/lib/cloud/data").mkdir(parents=True)
    Path("/var/lib/cloud/data/upgraded-network").touch()
    seed = Path("/var/lib/cloud/seed/nocloud")
    seed.mkdir(parents=True)
    for name, text in told["files"].items():
        (seed / name).write_text(text)
    paths = {"cloud_dir": "/var/lib/cloud", "run_dir": str(folder / "run"), "templates_dir": f"{package}/etc/cloud"}
    config: dict[str, Any] = {
        "system_info": {"distro": "debian", "paths": paths}, "datasource_list": ["NoCloud"],
        "users": [], "disable_root": False, "ssh_genkeytypes": [],
        "ssh_deletekeys": False, "cloud_init_modules": ["set_hostname"], "cloud_config_modules": ["ssh"],
        "cloud_final_modules": ["scripts_per_boot", "scripts_user"],
    }  # fmt: skip
    own = folder / "cloud.cfg"
    own.write_text(json.dumps(config))
    server = HTTPServer((METADATA, 80), Ready)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = []
    for start in (1, 2):
        for stage in ("init --local", "init", "modules --mode config", "modules --mode final"):
            done = subprocess.run(
                [sys.executable, "-W", "ignore", "-c", _RUN, "--file", str(own), *stage.split()],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            if done.returncode:
                raise SystemExit(f"{stage}: {done.stdout} {done.stderr}")
        wait_until(lambda: len(Ready.asked) == start, timeout_s=20, reason="the host is told")  # noqa: B023
        # its source is tentative for a while, and the boot hook does not wait
        wait_until(lambda: str(RESOLVER6) in _do("ip", "-6", "route"), timeout_s=60, reason="all routes stand")
        addresses = [a["local"] for link in json.loads(_do("ip", "-j", "addr")) for a in link["addr_info"]]
        found.append(
            {
                "addresses": sorted(addresses), "routes": _do("ip", "route") + _do("ip", "-6", "route"),
                "hostname": _do("hostname").strip(), "hosts": Path("/etc/hosts").read_text(),
                "keys": Path("/root/.ssh/authorized_keys").read_text(), "ready": list(Ready.asked),
                "user": Path("/root/user").read_text(),
            }
        )  # fmt: skip
    print(json.dumps(found))


if __name__ == "__main__":
    main()
