"""The command line of QEMU for one machine. Pure.

In: its image, its size, what this host can do. Out: the words. All files are named relative to the machine's folder.
Only what is named here is there: no default devices, no configuration files of the host, no network but the taps that
are handed over as open files. QEMU may neither start programs nor become another user, however a guest breaks it.
"""

import json
from dataclasses import dataclass

from anypop.agent.act.instances.machines.place import (
    CONSOLE,
    DISK,
    FIRMWARE,
    GUEST_AGENT,
    INITRD,
    KERNEL,
    MOVE_QMP,
    OTHER,
    QMP,
    ROOT,
    SEED,
    Spec,
)
from anypop.agent.naming import disk_serial
from anypop.model.machine import Acceleration, Board, DiskFormat, Firmware, MachineImage

PROGRAM = "qemu-system-x86_64"
UEFI_CODE, UEFI_VARIABLES = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"
_SANDBOX = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
# MiB for translated code. The default is 1 GiB, which a small guest would fill at the host's cost.
TRANSLATED_MB = 64
# what fails on a disk is told to the guest; the default stops the guest where the host's disk is full, and tells nobody
_TOLD = "werror=report,rerror=report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Files that QEMU gets open: a tap for each of its network cards, and further disks, each with the name the guest
    sees.
    """

    taps: tuple[int, ...]
    disks: tuple[tuple[str, int], ...] = ()


def vcpus(cpu_millis: int) -> int:
    """As many processors as can be busy with so much; its control group says how busy they may be."""
    return max(1, -(-cpu_millis // 1000))


def board_for(wanted: Board, accelerator: Acceleration) -> Board:
    """What the guest sees. Without KVM's clock a microvm has none that Linux can measure its processor by (it waits for
    one for ever), so there it is the other board, on which such kernels boot as well.
    """
    return wanted if accelerator is Acceleration.KVM else Board.Q35


def arguments(
    spec: Spec, *, accelerator: Acceleration, handed: Handed, mtu: int = 1500, arriving: bool = False,
    rescue: MachineImage | None = None,
) -> list[str]:  # fmt: skip
    """The words, the program first. `arriving`: the guest runs elsewhere; QEMU waits for it, and then for our word.
    `rescue`: it starts with this image, and its own root disk is a further one.
    """
    image = rescue or spec.image
    board = board_for(image.board, accelerator)
    bus = "device" if board is Board.MICROVM else "pci"
    words = [
        PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-sandbox", _SANDBOX,
        "-name", f"guest={spec.label('instance')}", "-uuid", spec.system,
        "-machine", _board(board, image.firmware), *_processor(accelerator),
        "-m", f"{max(1, spec.memory_bytes >> 20)}M", "-smp", str(vcpus(spec.cpu_millis)),
        "-rtc", "base=utc,clock=host",
    ]  # fmt: skip
    if arriving:
        words += ["-S", "-incoming", "defer"]
    other = OTHER if rescue is not None else ""
    words += _firmware(image, other)
    words += _root(image, bus, other, "bootindex=1", name="root")
    if rescue is not None:
        words += _root(spec.image, bus, "", "id=own-disk", name="own")
    words += _disks(bus, other, handed)
    for n, (tap, mac) in enumerate(zip(handed.taps, (spec.mac, *spec.further_macs), strict=True)):
        words += ["-netdev", f"tap,id=net{n},fd={tap}"]
        words += ["-device", f"virtio-net-{bus},netdev=net{n},mac={mac},host_mtu={mtu}"]
    words += [
        "-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", f"virtio-rng-{bus},rng=rng0",
        "-device", f"virtio-balloon-{bus},id=balloon0,deflate-on-oom=on",
        "-chardev", f"socket,id=console,path={CONSOLE},server=on,wait=off", "-serial", "chardev:console",
        "-chardev", f"socket,id=agent,path={GUEST_AGENT},server=on,wait=off",
        "-device", f"virtio-serial-{bus}", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        "-chardev", f"socket,id=qmp,path={QMP},server=on,wait=off", "-mon", "chardev=qmp,mode=control",
        "-chardev", f"socket,id=move,path={MOVE_QMP},server=on,wait=off", "-mon", "chardev=move,mode=control",
    ]  # fmt: skip
    return words


def _board(board: Board, firmware: Firmware) -> str:
    if board is Board.MICROVM:
        # by ACPI the guest finds its disks and network, and hears that it is to end
        return "microvm,acpi=on,dump-guest-core=off"
    flash = ",pflash0=code,pflash1=variables" if firmware is Firmware.UEFI else ""
    return f"q35,vmport=off,dump-guest-core=off{flash}"


def _processor(accelerator: Acceleration) -> list[str]:
    if accelerator is Acceleration.KVM:
        return ["-accel", "kvm", "-cpu", "host"]
    return ["-accel", f"tcg,thread=multi,tb-size={TRANSLATED_MB}", "-cpu", "max"]


def _firmware(image: MachineImage, other: str) -> list[str]:
    match image.firmware:
        case Firmware.KERNEL:
            words = ["-kernel", f"{other}{KERNEL}"]
            if image.part("initrd") is not None:
                words += ["-initrd", f"{other}{INITRD}"]
            return [*words, "-append", image.cmdline]
        case Firmware.UEFI:
            return [
                *_block(driver="file", filename=UEFI_CODE, **{"node-name": "code", "read-only": True}),
                *_block(driver="file", filename=f"{other}{FIRMWARE}", **{"node-name": "variables"}),
            ]
        case Firmware.BIOS:
            return []


def _root(image: MachineImage, bus: str, other: str, place: str, *, name: str) -> list[str]:
    """The root disk of an image, over the image. `name`: of its node, and the serial number that the guest sees."""
    words, base = list[str](), None
    if image.part("disk") is not None:
        base = "image" if name == "root" else f"{name}-image"
        words += _block(driver="file", filename=f"{other}{DISK}", **{"node-name": f"{base}-file", "read-only": True})
        # an image of somebody else's never names a further file of this host: what is behind it is said here
        more = {"backing": None} if image.disk_format is DiskFormat.QCOW2 else {}
        words += _block(
            driver=image.disk_format.lower(), file=f"{base}-file", **{"node-name": base, "read-only": True, **more}
        )
    if has_root(image):
        words += _block(driver="file", filename=f"{other}{ROOT}", discard="unmap", **{"node-name": f"{name}-file"})
        words += _block(driver="qcow2", file=f"{name}-file", discard="unmap", backing=base, **{"node-name": name})
        words += ["-device", f"virtio-blk-{bus},drive={name},serial={name},{place},{_TOLD}"]
    return words


def _disks(bus: str, other: str, handed: Handed) -> list[str]:
    """Its seed, and its volumes."""
    words = list[str]()
    words += _block(driver="file", filename=f"{other}{SEED}", **{"node-name": "seed", "read-only": True})
    words += ["-device", f"virtio-blk-{bus},drive=seed,serial=seed"]
    for number, (name, file) in enumerate(handed.disks):
        node = volume_node(number)
        words += ["-add-fd", f"fd={file},set={number + 1}"]
        words += _block(driver="file", filename=f"/dev/fdset/{number + 1}", **{"node-name": f"{node}-file"})
        words += _block(driver="raw", file=f"{node}-file", **{"node-name": node})
        words += ["-device", f"virtio-blk-{bus},drive={node},id={node}-disk,serial={disk_serial(name)},{_TOLD}"]
    return words


def volume_node(number: int) -> str:
    """By which QEMU knows a machine's volume, by its place among them."""
    return f"volume{number}"


def has_root(image: MachineImage) -> bool:
    """Whether its guest has a root disk; an image of a kernel alone need not."""
    return image.part("disk") is not None or image.disk_bytes > 0


def _block(**options: object) -> list[str]:
    return ["-blockdev", json.dumps(options)]
