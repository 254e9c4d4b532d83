"""What control tells of one thing as it changes: each state of it, until a moment.

In: the path of one of control's streams (`.../watch`). Out: what it shows, at once and at each change. A stream that
breaks is opened anew; nothing is asked again and again.
"""

import time
from collections.abc import Iterator
from math import ceil
from typing import Any

from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure

AGAIN_S = 0.25  # a stream that ends at once must not become a storm of requests
LONGEST_S = 86_400  # then the same is asked anew
SILENCE_S = 30.0  # three signs of life that did not come: the connection is dead


def states(call: Call, path: str, *, what: str, until: float) -> Iterator[Any]:
    """`until`: of the monotonic clock. Raises a `Failure` where the thing is gone, and those of the client."""
    while (left := until - time.monotonic()) > 0:
        began = time.monotonic()
        for event, shown in call.client.events(
            f"{path}?longest_s={min(ceil(left), LONGEST_S)}", what=what, silence_s=min(left, SILENCE_S), longest_s=left
        ):
            if event == "gone":
                raise Failure(f"{what}: it is gone", code=Exit.NOT_FOUND)
            yield shown
        time.sleep(max(0.0, min(began + AGAIN_S, until) - time.monotonic()))
