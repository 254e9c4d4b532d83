"""Variables of UEFI as a firmware has written them: one more entry that it may begin by, in the file that it keeps them
in. Source: the UEFI specification, 2.10 (3.1.3 load options, 10.3.5.4 file paths); EDK II's VariableFormat.h.
"""

import struct
from pathlib import Path
from uuid import UUID

TEMPLATE = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
_GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
_ADDED, _STARTS = 0x3F, 0x55AA
_KEPT = 7  # non-volatile, for boot services, at run time
_FIRST = 0x48 + 0x1C  # behind the headers of the volume and of the store


def with_boot_entry(number: int, name: str, loader: str) -> bytes:
    """Those of a new machine, and an entry of that number that is tried first: `loader` of whatever disk has it."""
    path = _text(loader)
    paths = struct.pack("<BBH", 4, 4, 4 + len(path)) + path + struct.pack("<BBH", 0x7F, 0xFF, 4)
    option = struct.pack("<IH", 1, len(paths)) + _text(name) + paths
    added = _variable(f"Boot{number:04X}", option) + _variable("BootOrder", struct.pack("<H", number))
    whole = bytearray(TEMPLATE.read_bytes())
    assert set(whole[_FIRST : _FIRST + len(added)]) == {0xFF}, "nothing is there yet"
    whole[_FIRST : _FIRST + len(added)] = added
    return bytes(whole)


def _variable(name: str, data: bytes) -> bytes:
    named = _text(name)
    head = struct.pack("<HBBIQ16xIII", _STARTS, _ADDED, 0, _KEPT, 0, 0, len(named), len(data)) + _GLOBAL
    whole = head + named + data
    return whole + b"\xff" * (-len(whole) % 4)


def _text(words: str) -> bytes:
    return f"{words}\0".encode("utf-16-le")
