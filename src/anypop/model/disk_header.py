"""What a disk image or a kernel of somebody else says of itself, read from its first bytes by ourselves.

In: the beginning of a file, and how long the file is. Out: its format and how large its disk looks to a guest; or
`Invalid` in words, for what no host shall open: a qcow2 that leads to other files, is encrypted, is damaged or claims
to be huge, and formats that are none of ours. Source: QEMU's docs/interop/qcow2. Pure: nothing here opens a file, and
no program that was written for trusted images (`qemu-img info`) ever sees one that did not pass.
"""

import struct
from dataclasses import dataclass

from anypop.model.errors import Invalid
from anypop.model.machine import DiskFormat, PartName

# So much of a file is looked at: header and extensions of a qcow2 lie in its first cluster, which has at most so much.
HEAD_BYTES = 1 << 21
MOST_VIRTUAL_BYTES = 1 << 41  # 2 TiB: above what a host gives one guest, below what a map of clusters makes costly
_SECTOR = 512
_MOST_L1_BYTES = 1 << 25  # as QEMU has it (QCOW_MAX_L1_SIZE)
_MAGIC = b"QFI\xfb"
_V2 = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_DIRTY, _CORRUPT, _DATA_FILE, _COMPRESSION, _LONG_L2 = (1 << bit for bit in range(5))
_KNOWN = _DIRTY | _CORRUPT | _DATA_FILE | _COMPRESSION | _LONG_L2
_END, _BACKING_FORMAT, _DATA_FILE_NAME, _ENCRYPTION = 0, 0xE2792ACA, 0x44415441, 0x0537BE77
_OTHERS = (
    (b"KDMV", "a VMDK image"),
    (b"# Disk DescriptorFile", "a VMDK image"),
    (b"<<< ", "a VDI image"),
    (b"vhdxfile", "a VHDX image"),
    (b"conectix", "a VHD image"),
    (b"QED\0", "a QED image"),
    (b"OOOM", "a COW image"),
    (b"WithoutFreeSpace", "a Parallels image"),
    (b"WithouFreSpacExt", "a Parallels image"),
)
_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
)
# Of the file in which UEFI keeps its variables: which firmware volume it is (PI specification, volume 3), and where its
# length and its signature stand.
_VARIABLES_KIND = bytes.fromhex("8d2bf1ff96768b4ca9852747075b4f50")
_VARIABLES_HEAD = struct.Struct("<16x16sQ4s")
_MOST_VARIABLES = 1 << 23  # as much as QEMU gives to firmware and variables together
_WEB = (b"<!doctype", b"<html", b"<?xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """`virtual_bytes`: how large the disk looks to a guest."""

    format: DiskFormat
    virtual_bytes: int


def disk_of(head: bytes, size: int) -> Disk:
    """What a disk image is, by its first `HEAD_BYTES` (fewer where it is shorter) and its length. Raises `Invalid`."""
    _refuse_what_is_none(head)
    if head.startswith(_MAGIC):
        return Disk(format=DiskFormat.QCOW2, virtual_bytes=_qcow2(head, size))
    for magic, what in _OTHERS:
        if head.startswith(magic):
            raise _wrong(f"is {what}: convert it first (qemu-img convert -O qcow2)")
    if not size or size % _SECTOR:
        raise _wrong(f"is neither qcow2 nor a raw disk: a raw disk has whole sectors of {_SECTOR} bytes, not {size}")
    if size > MOST_VIRTUAL_BYTES:
        raise _wrong(f"is a disk of {size} bytes; the largest may have {MOST_VIRTUAL_BYTES}")
    return Disk(format=DiskFormat.RAW, virtual_bytes=size)


def check_kernel(head: bytes) -> None:
    """Whether QEMU can start it by itself: Linux's own boot protocol (x86: "HdrS" at 0x202; arm64: "ARMd" at 56), or
    an ELF file. Raises `Invalid`.
    """
    if head[0x202:0x206] == b"HdrS" or head[56:60] == b"ARMd" or head.startswith(b"\x7fELF"):
        return
    _refuse_what_is_none(head)
    raise _wrong("is no kernel that can be started by itself (bzImage, Image or ELF)")


def check_part(name: PartName, head: bytes, size: int) -> Disk | None:
    """What is asked of each part: the disk's description, None of the others. Raises `Invalid`."""
    match name:
        case "disk":
            return disk_of(head, size)
        case "kernel":
            check_kernel(head)
        case "initrd":
            if not size or head[:64].lstrip().lower().startswith(_WEB):
                raise _wrong("is no initial file system")
        case "variables":
            _check_variables(head, size)
    return None


def _check_variables(head: bytes, size: int) -> None:
    kind, length, signature = _VARIABLES_HEAD.unpack(head[: _VARIABLES_HEAD.size].ljust(_VARIABLES_HEAD.size, b"\0"))
    if (kind, length, signature) != (_VARIABLES_KIND, size, b"_FVH") or size > _MOST_VARIABLES:
        raise _wrong("are no variables of UEFI, or not all of them")


def _refuse_what_is_none(head: bytes) -> None:
    for magic, packer in _PACKED:
        if head.startswith(magic):
            raise _wrong(f"is packed with {packer}: unpack it first")
    if head[:64].lstrip().lower().startswith(_WEB):
        raise _wrong("is a web page: the address is not the image's own")


def _qcow2(head: bytes, size: int) -> int:
    """The virtual size of a qcow2 that stands for itself alone."""
    if len(head) < _V2.size:
        raise _broken("its header is cut off")
    (_, version, backing_at, backing_size, cluster_bits, virtual, crypt, l1_size, l1_at, refcounts_at,
     refcount_clusters, snapshots, _) = _V2.unpack_from(head)  # fmt: skip
    if version not in (2, 3):
        raise _broken(f"version {version} is not known")
    if backing_at or backing_size:
        raise _wrong("has a backing file: an image must stand for itself (qemu-img convert makes it so)")
    if crypt:
        raise _wrong("is encrypted: nobody here has its key")
    if not 9 <= cluster_bits <= 21:
        raise _broken(f"clusters of 2^{cluster_bits} bytes are not possible")
    cluster = 1 << cluster_bits
    header, features = _V2.size, 0
    if version == 3:
        features, header = _version_3(head, cluster)
    if snapshots:
        raise _wrong(f"has {snapshots} snapshots inside: only a plain disk can be an image (qemu-img convert)")
    _check_extensions(head, header, cluster)
    if not virtual or virtual % _SECTOR:
        raise _broken(f"a disk of {virtual} bytes is not possible")
    if virtual > MOST_VIRTUAL_BYTES:
        raise _wrong(f"claims a disk of {virtual} bytes; the largest may have {MOST_VIRTUAL_BYTES}")
    per_table = cluster // (16 if features & _LONG_L2 else 8)
    needed = -(-virtual // (cluster * per_table))
    if l1_size < needed or l1_size * 8 > _MOST_L1_BYTES:
        raise _broken(f"a map of {l1_size} entries does not fit a disk of {virtual} bytes")
    for what, at, length in (
        ("map", l1_at, l1_size * 8), ("table of references", refcounts_at, refcount_clusters * cluster),
    ):  # fmt: skip
        if not length or at % cluster or at < cluster or at + length > size:
            raise _broken(f"its {what} does not lie in the file")
    return int(virtual)


def _version_3(head: bytes, cluster: int) -> tuple[int, int]:
    """Its features that must be understood, and how long its header is."""
    if len(head) < _V2.size + _V3.size:
        raise _broken("its header is cut off")
    features, _, _, order, length = _V3.unpack_from(head, _V2.size)
    if features & _DATA_FILE:
        raise _wrong("keeps its data in another file: an image must stand for itself")
    if features & _CORRUPT:
        raise _broken("it says so itself: repair it first (qemu-img check -r all)")
    if features & _DIRTY:
        raise _broken("it was not closed: repair it first (qemu-img check -r all)")
    if unknown := features & ~_KNOWN:
        raise _broken(f"features {unknown:#x} are not known")
    if order > 6 or length < _V2.size + _V3.size or length % 8 or length > min(cluster, len(head)):
        raise _broken("its header contradicts itself")
    return int(features), int(length)


def _check_extensions(head: bytes, at: int, cluster: int) -> None:
    """None of them may lead to another file or to a key."""
    end = min(cluster, len(head))
    while at + 8 <= end:
        kind, length = struct.unpack_from(">II", head, at)
        if kind == _END:
            return
        if kind in (_BACKING_FORMAT, _DATA_FILE_NAME):
            raise _wrong("names another file: an image must stand for itself (qemu-img convert makes it so)")
        if kind == _ENCRYPTION:
            raise _wrong("is encrypted: nobody here has its key")
        at += 8 + (length + 7) // 8 * 8
        if at > end:
            raise _broken("an extension of its header goes beyond the first cluster")


def _wrong(message: str) -> Invalid:
    return Invalid.one("", message)


def _broken(message: str) -> Invalid:
    return _wrong(f"is a damaged qcow2: {message}")
