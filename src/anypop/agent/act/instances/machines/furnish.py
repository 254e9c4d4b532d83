"""The files of a machine: parts of its image, its root disk, its seed; and the same of an image that it is mended with.

In: a machine's folder and what it is made of. Out: files in its `own` folder, for the user that QEMU runs as. What an
image's file names as being behind it is never opened here: it is somebody else's. Starts nothing but `qemu-img`.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from anypop.agent.act.instances.machines.arguments import has_root
from anypop.agent.act.instances.machines.iso import write_iso
from anypop.agent.act.instances.machines.place import (
    DISK,
    FIRMWARE,
    INITRD,
    KERNEL,
    OTHER,
    RESCUE,
    ROOT,
    SEED,
    Place,
    Spec,
)
from anypop.agent.act.instances.machines.seed import seed_files
from anypop.agent.act.instances.machines.variables import give_variables
from anypop.host import process
from anypop.model.codec import to_json
from anypop.model.machine import Firmware, MachineImage
from anypop.model.order import InstanceOrder
from anypop.model.workload import Container

_PARTS = {"disk": DISK, "kernel": KERNEL, "initrd": INITRD}


def furnish(
    place: Place, spec: Spec, parts: Mapping[str, Path], instance: InstanceOrder, container: Container, *, pop: str
) -> None:
    """Its folder with all files, before it counts as made; whatever was half made goes."""
    place.remove()
    place.own.mkdir(parents=True, mode=0o700)
    write_iso(place.own / SEED, seed_files(_born(instance, spec), container, pop=pop, mac=spec.mac))
    _own(place.own / SEED, spec)
    _image(place, spec, spec.image, parts)
    # last: from now on its user may change what is there
    os.chown(place.own, spec.user, spec.user)


def furnish_rescue(
    place: Place, spec: Spec, image: MachineImage, parts: Mapping[str, Path], instance: InstanceOrder, *, pop: str
) -> None:
    """The other image beside its own, fresh at each start. Its user data is not for this system: it is left out."""
    forget_rescue(place)
    own = instance.containers[0]
    assert own.machine is not None, "only a machine is mended so"
    seed = place.own / f"{OTHER}{SEED}"
    without = replace(own, machine=replace(own.machine, user_data=""))
    write_iso(seed, seed_files(_born(instance, spec), without, pop=pop, mac=spec.mac))
    _own(seed, spec)
    _image(place, spec, image, parts, prefix=OTHER)
    place.mark(RESCUE, to_json(image).decode())


def _born(instance: InstanceOrder, spec: Spec) -> InstanceOrder:
    """As it was where it began: what it was told then is what it finds where it begins anew by itself."""
    if spec.born is None:
        return instance
    links = (replace(instance.links[0], addresses=spec.born.addresses), *instance.links[1:])
    return replace(instance, uid=spec.born.uid, links=links)


def forget_rescue(place: Place) -> None:
    """Nothing of another image; from now on it starts with its own."""
    place.unmark(RESCUE)
    for name in (*_PARTS.values(), SEED, ROOT, FIRMWARE):
        (place.own / f"{OTHER}{name}").unlink(missing_ok=True)


def _image(place: Place, spec: Spec, image: MachineImage, parts: Mapping[str, Path], *, prefix: str = "") -> None:
    for name, file in ((name, file) for name, file in parts.items() if name in _PARTS):
        link = place.own / f"{prefix}{_PARTS[name]}"
        link.hardlink_to(file)
        link.chmod(0o444)  # no folder that leads there is open to anybody else
    if has_root(image):
        behind = ["-u", "-b", f"{prefix}{DISK}", "-F", image.disk_format.lower()] if "disk" in parts else []
        root = place.own / f"{prefix}{ROOT}"
        process.run(
            ["qemu-img", "create", "-q", "-f", "qcow2", *behind, root.name, str(image.disk_bytes)], cwd=place.own
        )
        _own(root, spec)
    if image.firmware is Firmware.UEFI:
        variables = place.own / f"{prefix}{FIRMWARE}"
        give_variables(parts.get("variables"), variables)
        _own(variables, spec)


def _own(file: Path, spec: Spec) -> None:
    file.chmod(0o600)
    os.chown(file, spec.user, spec.user)
