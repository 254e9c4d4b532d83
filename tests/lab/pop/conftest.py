"""One PoP for all tests of this folder: an agent as its own process on real parts (Podman, the kernel, BIRD), and two
upstreams that hear what it says.
"""

from collections.abc import Iterator

import pytest

from tests.agent_lab import COVER4, EXTERNAL4, PopLab, tokens
from tests.wait import wait_until


@pytest.fixture(scope="package")
def pop() -> Iterator[PopLab]:
    """A PoP with two upstreams and a running agent that obeys an order without instances."""
    lab = PopLab("agt", ("one", "two"))
    try:
        lab.start_agent()
        lab.give()
        wait_until(
            lambda: lab.upstreams.routes("one", EXTERNAL4), timeout_s=20, reason="the PoP's own prefix is announced"
        )
        yield lab
    finally:
        lab.close()


@pytest.fixture
def clean(pop: PopLab) -> Iterator[PopLab]:
    """The PoP without instances before and after."""
    yield pop
    known = {i.uid: i for i in (pop.control.order.instances if pop.control.order else ())}
    pop.give(removed=tokens(*known.values()))
    try:
        wait_until(lambda: _is_empty(pop), timeout_s=20, reason="the PoP is empty again")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{pop.control.report}\n{pop.agent_log()}") from error


def _is_empty(pop: PopLab) -> bool:
    report = pop.control.report
    return (
        report is not None
        and report.generation == pop._generation
        and not report.instances
        and not pop.upstreams.routes("one", COVER4)
    )
