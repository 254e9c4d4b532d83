"""Who has to go when the host's disk is nearly full. Pure.

In: how much of the disk is free, what each container has written beside its image, how much it may. Out: the containers
that wrote more than they may. While there is room nobody is asked: a look at all that was written costs time.
"""

from collections.abc import Mapping

SHORT = 0.1  # images and the host's own logs need some; below that file systems grow slow


def is_short(free: int, total: int) -> bool:
    """Whether the disk is so full that somebody has to go."""
    return free < total * SHORT


def overfull(written: Mapping[str, int], most: int) -> frozenset[str]:
    """Ids of containers that wrote more than they may."""
    return frozenset(id_ for id_, size in written.items() if size > most)
