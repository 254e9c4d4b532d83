"""What clients of the Workload API may ask for and is not here: each with its answer in words.

In: the method and the path of a request that no operation takes. Out: whether something would have been done (501) or
looked for (404), and a sentence; None where the API never had such a call. Pure.
"""

import re
from dataclasses import dataclass

_PASSWORD = re.compile(r"/workload/v1/stacks/[^/]+/workloads/[^/]+/instances/[^/]+/passwords/initial")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHere:
    """`nothing_there`: it is looked for, and there is none; else it is something that cannot be done."""

    nothing_there: bool
    message: str


def not_here(method: str, path: str) -> NotHere | None:
    if path.startswith("/storage/v1/"):
        return NotHere(nothing_there=False, message="there are no storage buckets here")
    if _PASSWORD.fullmatch(path) and method == "GET":
        return NotHere(nothing_there=True, message="an instance of containers has no initial password")
    return None
