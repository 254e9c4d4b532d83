"""What every implementation of a router is told of relationships, and how their words for communities are read.

Shared by `frr`, `gobgp` and `openbgpd`. The mark (ASN, 1, class) and the preferences are those of the lab's own BIRDs.
Pure.
"""

import re
from collections.abc import Iterable
from typing import cast

from anypop.model.announce import Community, ExtendedCommunity, LargeCommunity
from anypop.model.extended_communities import read
from anypop.model.route import Relationship
from anypop.routing.actions import CUSTOMER_PREFERENCE, PEER_PREFERENCE, PROVIDER_PREFERENCE

CLASSES = {
    Relationship.CUSTOMER: (1, CUSTOMER_PREFERENCE),
    Relationship.PEER: (2, PEER_PREFERENCE),
    Relationship.PROVIDER: (3, PROVIDER_PREFERENCE),
}
_WELL_KNOWN = {
    "noExport": "65535:65281",
    "noAdvertise": "65535:65282",
    "noPeer": "65535:65284",
    "NO_EXPORT": "65535:65281",
    "NO_ADVERTISE": "65535:65282",
    "NO_PEER": "65535:65284",
    "no-export": "65535:65281",
    "no-advertise": "65535:65282",
    "no-peer": "65535:65284",
}


def numbers(text: str) -> tuple[int, ...]:
    """The numbers in a text, in order."""
    return tuple(map(int, re.findall(r"\d+", text)))


def pairs(words: Iterable[str]) -> tuple[Community, ...]:
    """`209:70`, or a well-known one by its name."""
    return tuple(cast(Community, numbers(_WELL_KNOWN.get(word, word))) for word in words)


def triples(words: Iterable[str]) -> tuple[LargeCommunity, ...]:
    """`209:40:701`."""
    return tuple(cast(LargeCommunity, numbers(word)) for word in words)


def extended(words: Iterable[str]) -> tuple[ExtendedCommunity, ...]:
    """`RT:65010:80`, `SoO:65010:5` of FRR, `rt 65010:80`, `soo 65010:5` of OpenBGPD. ValueError for other kinds."""
    return tuple(read(re.sub(r"^soo\b", "ro", word.lower()).replace(" ", ":")) for word in words)
