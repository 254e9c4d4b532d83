"""Whether this host can run virtual machines, and how: by KVM where that truly works, else by translation.

In: the host's programs and devices. Out: an accelerator, or why there is none; and what its operator should know.
/dev/kvm may be there and fail, so a machine is really made (KVM_CREATE_VM, linux/kvm.h) and let go at once.
"""

import fcntl
import os
import re
import shutil
import stat
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from anypop.agent.act.instances.machines.arguments import PROGRAM
from anypop.model.errors import WorldError
from anypop.model.machine import Acceleration

_KVM = Path("/dev/kvm")
_CREATE_VM = 0xAE01
_PROGRAMS = (PROGRAM, "qemu-img", "nsenter", "setpriv")
_EVERYBODY = stat.S_IROTH | stat.S_IWOTH
_GROUP = stat.S_IRGRP | stat.S_IWGRP


@dataclass(frozen=True, slots=True, kw_only=True)
class Ability:
    """`warning`: what its operator should know, empty where all is well; `group`: which QEMU needs for KVM's device;
    None: none.
    """

    accelerator: Acceleration
    warning: str = ""
    group: int | None = None


def can() -> Ability:
    """How machines run here. Raises `WorldError` where they cannot at all."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        why = f"{', '.join(missing)}: not installed here; qemu-system-x86 and qemu-utils bring QEMU"
        raise WorldError("run a virtual machine", why)
    if not Path("/dev/net/tun").exists():
        raise WorldError("run a virtual machine", "this kernel has no /dev/net/tun, by which a guest has its network")
    if why := _why_no_kvm():
        warning = f"virtual machines are slow here: {why}, so QEMU translates every instruction"
        return Ability(accelerator=Acceleration.TCG, warning=warning)
    told = _KVM.stat()
    everybody = told.st_mode & _EVERYBODY == _EVERYBODY
    return Ability(accelerator=Acceleration.KVM, group=None if everybody else told.st_gid)


def processor() -> str:
    """What a guest here is given of the processor, as a hash: one that moves must find the same. Translated, all hosts
    give the same.
    """
    accelerator = can().accelerator
    if accelerator is Acceleration.TCG:
        return accelerator
    told = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
    kept = re.findall(r"^(?:vendor_id|cpu family|model|stepping|flags)\s*: .*$", told, re.MULTILINE)
    digest = sha256("\n".join(kept).encode()).hexdigest()
    return f"{accelerator} {digest[:16]}"


def _why_no_kvm() -> str:
    """Empty where a machine could be made."""
    try:
        handle = os.open(_KVM, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return "there is no /dev/kvm"
    except OSError as error:
        return f"/dev/kvm does not open ({error.strerror})"
    try:
        os.close(fcntl.ioctl(handle, _CREATE_VM, 0))
    except OSError as error:
        return f"/dev/kvm is there and makes no machine ({error.strerror})"
    finally:
        os.close(handle)
    mode = _KVM.stat().st_mode
    if mode & _EVERYBODY != _EVERYBODY and mode & _GROUP != _GROUP:
        return "/dev/kvm is root's alone, and QEMU does not run as root"
    return ""
