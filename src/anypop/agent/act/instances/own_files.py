"""The files of an instance that name others for it: /etc/hosts and /etc/resolv.conf, never the host's.

In: the instance's order. Out: their texts (pure), and the files on the host that a container
gets in their place. They lie below /run, so what a process writes into them is memory of its own where that is a tmpfs,
and a reboot takes them away. Who asks for a container writes them first; who removes it takes them away.
"""

import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from anypop.agent.naming import RESOLVER4, RESOLVER6, own_files_of
from anypop.model.names import host_label
from anypop.model.order import InstanceOrder

HOSTS, RESOLV_CONF = "/etc/hosts", "/etc/resolv.conf"
_LOCAL = ("127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback")


def hosts_text(instance: InstanceOrder) -> str:
    """The machine itself, the instance by its names, and the aliases that its workload asks for. An instance whose name
    is too long for a host name is also found by its whole name.
    """
    label, domain = host_label(instance.name), instance.hosts_domain
    own = dict.fromkeys([*([f"{label}.{domain}"] if domain else []), label, instance.name])
    lines = [*_LOCAL, *(f"{address.known}\t{' '.join(own)}" for address in instance.links[0].addresses)]
    lines += [f"{alias.address}\t{' '.join(alias.names)}" for alias in instance.payload.around.aliases]
    return "\n".join(lines) + "\n"


def resolv_conf_text(instance: InstanceOrder) -> str:
    """The workload's nameservers, or else the host's resolver, which knows the stack's own names; its searches, before
    the stack's, and its options.
    """
    asked = instance.payload.around.resolving
    families = {address.private.version for address in instance.links[0].addresses}
    own = [address for address in (RESOLVER4, RESOLVER6) if address.version in families]
    lines = [f"nameserver {address}" for address in asked.nameservers or own]
    searches = list(asked.searches)
    if not asked.nameservers and instance.hosts_domain:
        searches = list(dict.fromkeys((*searches, instance.hosts_domain)))
    if searches:
        lines.append(f"search {' '.join(searches)}")
    if asked.options:
        lines.append("options " + " ".join(f"{name}:{value}" if value else name for name, value in asked.options))
    return "\n".join(lines) + "\n"


def folder_of(prefix: str, uid: str, container: str) -> Path:
    return Path(own_files_of(prefix, uid)) / container


def write(folder: Path, instance: InstanceOrder, owner: int) -> None:
    """Both files anew. `owner`: the host's user that is root in the container."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o711)
    for name, text in ((HOSTS, hosts_text(instance)), (RESOLV_CONF, resolv_conf_text(instance))):
        file = folder / Path(name).name
        file.unlink(missing_ok=True)  # a process of a life before may have it still
        file.write_text(text)
        file.chmod(0o644)
        os.chown(file, owner, owner)


def mounts(folder: Path, *, read_only: bool) -> list[dict[str, Any]]:
    """Members of the body of `containers/create`."""
    options = ["bind", "nosuid", "nodev", "noexec", "ro" if read_only else "rw"]
    return [
        {"destination": name, "type": "bind", "source": str(folder / Path(name).name), "options": options}
        for name in (HOSTS, RESOLV_CONF)
    ]


def remove(folder: Path) -> None:
    """Harmless where there is none."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, folder.parent.parent):
        with suppress(OSError):  # others have theirs there
            parent.rmdir()
