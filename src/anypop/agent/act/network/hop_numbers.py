"""The numbers of next hops over instances' links, and how long a bucket of a group is idle before it may move.

In: the index of a link. Out: ids, by which whoever makes a group finds the next hops that are there already. They are
unique, and go with their link. Pure.
"""

HOPS, _TWINS = 0x1000_0000, 0x2000_0000
IDLE_S = 60  # a bucket silent for so long carries no live flow that would notice a move


def hop_number(index: int, version: int) -> int:
    """The id of the next hop over the link with this interface index."""
    return HOPS + 2 * index + (version == 6)


def twin_number(index: int, version: int) -> int:
    """The id of a second next hop over the same link, for the member that is alone in its group.

    With a single next hop the kernel does not look into the group's buckets (IPv4), so none counts as busy, and half of
    them, with the live flows behind them, would move to whoever joins next: 33 of 60 connections broke. With two next
    hops buckets are used, whatever link both lead to. A twin stays until its member leaves the group: its own buckets
    are busy too.
    """
    return _TWINS + 2 * index + (version == 6)
