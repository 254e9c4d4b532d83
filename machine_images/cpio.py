"""An archive of the kind that Linux unpacks as its first root (cpio, "newc").

In: paths with contents. Out: bytes; the same for the same contents, whoever makes them, and root need not.
"""

import stat
from collections.abc import Mapping

from machine_images.tree import Entry

_ALIGN = 4


def archive(tree: Mapping[str, Entry]) -> bytes:
    """`tree`: by path without a slash in front; folders are made as needed."""
    folders = {str(parent) for path in tree for parent in _parents(path)}
    out = bytearray()
    entries = {**{folder: Entry(mode=stat.S_IFDIR | 0o755) for folder in folders}, **tree}
    for number, (path, entry) in enumerate(sorted(entries.items()), start=1):
        out += _one(number, path, entry.mode, entry.content)
    return bytes(out + _one(0, "TRAILER!!!", 0, b""))


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]


def _one(number: int, path: str, mode: int, content: bytes) -> bytes:
    name = path.encode() + b"\0"
    # magic; inode, mode, uid, gid, links, time, size, device (2), device it is (2), length of the name, checksum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields)
    return _padded(head + name) + _padded(content)


def _padded(text: bytes) -> bytes:
    return text + b"\0" * (-len(text) % _ALIGN)
