"""Small qcow2 files for tests: written here by hand, so that any field of them may be wrong."""

import struct

CLUSTER_BITS = 16


def qcow2(virtual: int = 1 << 26, **fields: int) -> bytes:
    """An empty disk as a qcow2 of version 3: header, table of references, one block of them, map. `fields`: what is to
    be otherwise, by name; `extension` and `extension_size` add one to the header.
    """
    bits = fields.pop("cluster_bits", CLUSTER_BITS)
    cluster = 1 << CLUSTER_BITS
    l1_size = max(1, -(-virtual // (cluster * cluster // 8)))
    told = {
        "version": 3, "backing_at": 0, "backing_size": 0, "cluster_bits": bits, "virtual": virtual, "crypt": 0,
        "l1_size": l1_size, "l1_at": 3 * cluster, "refcounts_at": cluster, "refcount_clusters": 1, "snapshots": 0,
        "snapshots_at": 0, "incompatible": 0, "compatible": 0, "autoclear": 0, "refcount_order": 4,
        "header_length": 104, "extension": 0, "extension_size": 0,
    } | fields  # fmt: skip
    assert len(told) == 19, f"unknown fields in {fields}"
    header = struct.pack(">4sIQIIQIIQQIIQQQQIIII", b"QFI\xfb", *told.values())
    map_bytes = -(-l1_size * 8 // cluster) * cluster
    body = bytearray(3 * cluster + map_bytes)
    body[: len(header)] = header
    struct.pack_into(">Q", body, cluster, 2 * cluster)
    for used in range(len(body) // cluster):
        struct.pack_into(">H", body, 2 * cluster + 2 * used, 1)
    return bytes(body)
