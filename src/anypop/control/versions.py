"""The version that a changing request says it changes, against the one that is there.

In: what stands at `metadata.version` of a request, and the version of the thing. Nothing comes out where they fit: a
request made from an older look at a thing is refused, so that nobody undoes what he has not seen.
"""

import re
from collections.abc import Mapping
from typing import Any

from anypop.control.refusals import VersionConflict
from anypop.model.errors import Invalid


def version_in(body: Mapping[str, Any]) -> Any:
    """What a request that has not been read yet says there; None: nothing."""
    metadata = body.get("metadata")
    return metadata.get("version") if isinstance(metadata, Mapping) else None


def check_version(given: Any, there: int, what: str, *, required: bool = False) -> None:
    """Raises `Invalid` at `metadata.version` when it is missing and `required`, or no whole number; `VersionConflict`
    when it is another. `what`: the thing in words, such as `workload web`.
    """
    if given is None or given == "":
        if required:
            raise Invalid.one("metadata.version", "is required: the version that this replaces")
        return
    if not re.fullmatch("[0-9]{1,18}", str(given)):
        raise Invalid.one("metadata.version", "must be a whole number")
    if int(str(given)) != there:
        raise VersionConflict(f"{what} has version {there}, not {given}")
