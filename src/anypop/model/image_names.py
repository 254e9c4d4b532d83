"""How images of virtual machines are called: `<stack-slug>/<family>[:<tag>]`.

In: text that a person wrote. Out: its parts, or None where it is none. Pure.
"""

import re
from dataclasses import dataclass

from anypop.model.names import is_slug

_FAMILY = "[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?"
_TAG = "[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_REFERENCE = re.compile(rf"([a-z0-9-]+)/({_FAMILY})(?::({_TAG}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """`tag` empty: the newest one that is ready and not deprecated."""

    stack: str
    family: str
    tag: str = ""


def reference_of(text: str) -> ImageReference | None:
    found = _REFERENCE.fullmatch(text)
    if found is None or not is_slug(found[1]):
        return None
    return ImageReference(stack=found[1], family=found[2], tag=found[3] or "")


def is_family(text: str) -> bool:
    return re.fullmatch(_FAMILY, text) is not None


def is_tag(text: str) -> bool:
    return re.fullmatch(_TAG, text) is not None
