"""A process at every vantage, each with a line to its own end: what all kinds of load from vantages have in common.

Python's threads share one lock; a process for each vantage keeps the load from measuring itself. In: what each of them
runs, in its vantage's namespace. Out: they have said that they are ready when the block begins, and have ended when it
ends. What is said on the lines beyond that is the load's own business.
"""

import multiprocessing
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

from anypop.host import netns
from anypop.lab.address import VantageHost

_START_S = 60  # until the first of them has been answered: a lab may still be converging
_END_S = 10


class VantageProcesses(ABC):
    """From `with` until its end. `run(link, *arguments)` begins in the vantage's namespace, sends something once it is
    ready, and returns when it is told to.
    """

    def __init__(self, vantages: Sequence[VantageHost], run: Callable[..., None], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self.links: list[Connection] = []
        self._processes = []
        for vantage in vantages:
            ours, theirs = context.Pipe()
            words = (run, theirs, vantage.netns, arguments)
            self._processes.append(context.Process(target=_run, args=words, daemon=True))
            self.links.append(ours)

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        for link in self.links:
            assert link.poll(_START_S), "the load does not start"
            link.recv()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        for process in self._processes:
            process.join(_END_S)

    @abstractmethod
    def end(self) -> None:
        """Tell all of them to end, and take what they have to say."""


def _run(run: Callable[..., None], link: Connection, namespace: str, arguments: tuple[Any, ...]) -> None:
    netns.enter(namespace)
    run(link, *arguments)
