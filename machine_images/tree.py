"""What a file system is to hold, before it is one.

In: contents. Out: entries with their kinds and rights, which `cpio` and `ext4` write down.
"""

import stat
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """`mode`: kind and rights, as stat(2) has them. `content`: of a file, or where a link leads."""

    mode: int
    content: bytes = b""


def file(content: bytes, rights: int = 0o644) -> Entry:
    return Entry(mode=stat.S_IFREG | rights, content=content)


def link(target: str) -> Entry:
    return Entry(mode=stat.S_IFLNK | 0o777, content=target.encode())


def folder(rights: int = 0o755) -> Entry:
    return Entry(mode=stat.S_IFDIR | rights)
