"""Whether everything answers everywhere: every address, from every vantage.

Comes in: vantages and addresses. Goes out: nothing but the return, at the moment when the last pair has answered once.
One thread for each pair; a request that a missing route swallows is given up early and asked again, so the moment is
known to a fraction of its round trip.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from anypop.lab.address import VantageHost
from anypop.lab.vantage import probe
from anypop.model.errors import WorldError

# Two round trips between the farthest cities of a continent pair take about 0.3 s; a lost SYN would be sent again only
# after 1 s.
PATIENCE_S = 0.5
# Between two tries that are refused at once (no route yet): short beside a start, and no load of its own.
PAUSE_S = 0.02


def until_serving(vantages: Sequence[VantageHost], addresses: Sequence[str], *, port: int, timeout_s: float) -> None:
    """Returns once every address has answered every vantage. Raises `WorldError` naming the pairs that did not
    within `timeout_s`.
    """
    pairs = [(vantage, address) for vantage in vantages for address in addresses]
    deadline = time.monotonic() + timeout_s
    with ThreadPoolExecutor(len(pairs)) as pool:
        results = pool.map(lambda pair: _answers(pair[0], pair[1], port, deadline), pairs)
        silent = [
            f"{vantage.name} -> {address}" for (vantage, address), ok in zip(pairs, results, strict=True) if not ok
        ]
    if silent:
        raise WorldError("serving", f"no answer within {timeout_s:g} s: {', '.join(silent)}")


def _answers(vantage: VantageHost, address: str, port: int, deadline: float) -> bool:
    while time.monotonic() < deadline:
        began = time.monotonic()
        (answer,) = probe(vantage, address, port=port, requests=1, timeout_s=PATIENCE_S)
        if answer.ok:
            return True
        time.sleep(max(0.0, PAUSE_S - (time.monotonic() - began)))
    return False
