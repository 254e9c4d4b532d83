"""What a disk image says of itself is read by ourselves, and what no host may open is refused in words."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.disk_header import HEAD_BYTES, MOST_VIRTUAL_BYTES, check_part, disk_of
from anypop.model.errors import Invalid
from anypop.model.machine import DiskFormat
from tests.qcow2 import qcow2

PLAIN = qcow2()


def test_variables_of_uefi_are_a_whole_firmware_volume_of_their_kind() -> None:
    """Any other file, and a part of one, is refused."""
    head = bytes(16) + bytes.fromhex("8d2bf1ff96768b4ca9852747075b4f50") + (4096).to_bytes(8, "little") + b"_FVH"
    whole = head.ljust(4096, b"\xff")
    assert check_part("variables", whole, 4096) is None
    for wrong in (b"", whole[:-1], bytes(4096), whole.replace(b"_FVH", b"_FVX")):
        with pytest.raises(Invalid, match="no variables"):
            check_part("variables", wrong, len(wrong))


def test_a_plain_qcow2_and_a_raw_disk_are_what_they_are() -> None:
    """With the size that a guest sees."""
    found = disk_of(PLAIN, len(PLAIN))
    assert (found.format, found.virtual_bytes) == (DiskFormat.QCOW2, 1 << 26)
    old = qcow2(version=2)
    assert disk_of(old, len(old)).virtual_bytes == 1 << 26
    raw = disk_of(bytes(512), 1 << 30)
    assert (raw.format, raw.virtual_bytes) == (DiskFormat.RAW, 1 << 30)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"backing_at": 512, "backing_size": 11}, "backing file"),
        ({"backing_size": 11}, "backing file"),
        ({"crypt": 1}, "encrypted"),
        ({"incompatible": 4}, "another file"),
        ({"incompatible": 2}, "damaged"),
        ({"incompatible": 1}, "not closed"),
        ({"incompatible": 1 << 40}, "not known"),
        ({"extension": 0x44415441, "extension_size": 8}, "names another file"),
        ({"extension": 0xE2792ACA, "extension_size": 8}, "names another file"),
        ({"extension": 0x0537BE77, "extension_size": 16}, "encrypted"),
        ({"extension": 0x6803F857, "extension_size": 0xFFFFFFFF}, "first cluster"),
        ({"snapshots": 2}, "snapshots"),
        ({"version": 4}, "version 4"),
        ({"cluster_bits": 63}, "not possible"),
        ({"header_length": 1 << 31}, "contradicts"),
        ({"header_length": 72}, "contradicts"),
        ({"refcount_order": 60}, "contradicts"),
        ({"virtual": 1 << 42, "l1_size": 1 << 20}, "claims"),
        ({"virtual": (1 << 64) - 512}, "claims"),
        ({"virtual": 0}, "not possible"),
        ({"virtual": 1 << 40}, "does not fit"),
        ({"l1_size": 0xFFFFFFFF}, "does not fit"),
        ({"l1_at": 1 << 50}, "does not lie"),
        ({"l1_at": 0}, "does not lie"),
        ({"refcounts_at": 1 << 50}, "does not lie"),
    ],
)
def test_a_qcow2_that_does_not_stand_for_itself_is_refused_in_words(fields: dict[str, int], words: str) -> None:
    """Other files, keys, damage, and sizes that nothing can hold."""
    bad = bytearray(PLAIN)
    whole = qcow2(**{k: v for k, v in fields.items() if k != "virtual"})
    bad[:] = whole
    if "virtual" in fields:
        struct.pack_into(">Q", bad, 24, fields["virtual"])
    with pytest.raises(Invalid, match=words):
        disk_of(bytes(bad), len(bad))


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"KDMV" + bytes(508), "VMDK"),
        (b"vhdxfile" + bytes(504), "VHDX"),
        (b"\x1f\x8b" + bytes(510), "unpack"),
        (b"\xfd7zXZ\0" + bytes(506), "unpack"),
        (b"<!DOCTYPE html>" + bytes(497), "web page"),
        (bytes(100), "whole sectors"),
        (b"", "whole sectors"),
    ],
)
def test_what_is_no_disk_is_refused_with_what_it_is(head: bytes, words: str) -> None:
    """A page of an error, something packed, another format: the commonest mistakes."""
    with pytest.raises(Invalid, match=words):
        disk_of(head, len(head))


def test_a_raw_disk_has_the_same_bound_as_a_qcow2() -> None:
    """Nobody goes round it by the other format."""
    with pytest.raises(Invalid, match="largest"):
        disk_of(bytes(512), MOST_VIRTUAL_BYTES + 512)


def test_kernels_and_initial_file_systems_are_looked_at_too() -> None:
    """What QEMU can start by itself: Linux's boot protocol, or ELF."""
    bzimage = bytes(0x202) + b"HdrS" + bytes(64)
    assert check_part("kernel", bzimage, len(bzimage)) is None
    assert check_part("kernel", b"\x7fELF" + bytes(60), 64) is None
    assert check_part("initrd", b"\x1f\x8b" + bytes(60), 62) is None
    for name, head in (("kernel", PLAIN), ("kernel", b""), ("initrd", b""), ("initrd", b"<html>")):
        with pytest.raises(Invalid):
            check_part(name, head, len(head))  # type: ignore[arg-type]


@settings(deadline=None)  # it is bounded by counts; a busy machine is no failure
@given(st.data())
def test_any_damage_is_refused_or_harmless(data: Any) -> None:
    """Whatever bytes of the header are changed, the answer is a size within the bound or words; never anything else."""
    bad = bytearray(PLAIN[:4096])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, 127))
        bad[at] = data.draw(st.integers(0, 255))
    length = data.draw(st.sampled_from([len(PLAIN), len(PLAIN) - 1, 1 << 12, 1 << 40]))
    head = bytes(bad[: data.draw(st.integers(0, 4096))])
    try:
        found = disk_of(head, length)
    except Invalid as error:
        assert all(problem.message for problem in error.problems)
        return
    assert 0 < found.virtual_bytes <= MOST_VIRTUAL_BYTES
    if found.format is DiskFormat.QCOW2:
        backing_at, backing_size = struct.unpack_from(">QI", head, 8)
        assert (backing_at, backing_size) == (0, 0) and struct.unpack_from(">I", head, 32) == (0,)


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_at_all_upset_the_reader(noise: bytes) -> None:
    """It is the first thing that looks at what strangers send."""
    for head in (noise, b"QFI\xfb" + noise, PLAIN[:104] + noise):
        try:
            disk_of(head, HEAD_BYTES)
        except Invalid:
            continue
