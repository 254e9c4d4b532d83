"""Ids and names: who is called what, everywhere.

An instance is named `<workload>-<target>-<city>-<n>`, lower case, and that is also its host name. Workload slugs are
DNS labels (RFC 1123).
"""

import hashlib
import re
from contextlib import suppress
from ipaddress import ip_address
from typing import NewType

WorkloadId = NewType("WorkloadId", str)
StackId = NewType("StackId", str)
InstanceName = NewType("InstanceName", str)
CityCode = NewType("CityCode", str)  # IATA, upper case: LHR
HostName = NewType("HostName", str)  # LHR for the only host of a PoP, LHR-1 and LHR-2 where there are several

LONGEST_LABEL = 63
OWN_CA = "own-ca,"  # before a name or an address: of the platform's own authority, whatever others there are
SLUG = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def is_slug(text: str) -> bool:
    """Whether `text` is a DNS label of RFC 1123: 1 to 63 of a-z, 0-9 and inner hyphens."""
    return SLUG.fullmatch(text) is not None


def is_public_name(text: str) -> bool:
    """Whether a certificate may be for it: a host name, or an IP address."""
    with suppress(ValueError):
        return bool(ip_address(text))
    return len(text) <= 253 and all(is_slug(label) for label in text.lower().split("."))


def slug_of(name: str) -> str:
    """A slug made from a free name; empty where nothing usable is left."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")


def host_label(name: str) -> str:
    """The name as one label of a host name (RFC 1123: at most 63 letters): itself where it fits, else its beginning
    and eight digits of its hash, the same wherever it is worked out.
    """
    if len(name) <= LONGEST_LABEL:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_LABEL - 9].rstrip('-')}-{digest}"


def instance_name(workload_slug: str, target: str, city: CityCode, ordinal: int) -> InstanceName:
    """`stackpath-anycast-fun-na1-lax-0`."""
    return InstanceName(f"{workload_slug}-{target}-{city.lower()}-{ordinal}")
