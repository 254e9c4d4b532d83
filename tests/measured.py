"""Hosts that measure, played: what control asks of agents for metrics, answered without a host.

In: a served world, the host's name. Out: an agent that answers with a text and with samples that a test made up; and
the labels and the text that a real agent has for an incarnation.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.connection import Connection

from anypop.control.metrics.filling import PULSE
from anypop.control.metrics.lives import labels_of
from anypop.model.codec import from_json, to_json
from anypop.model.metrics import CPU
from anypop.model.streams import (
    POINTS_IN_FRAME,
    MetricsRequest,
    Opened,
    Refusal,
    Samples,
    SamplesRequest,
    Series,
    StreamRequest,
)
from tests.control_world import World
from tests.served import Served
from tests.wait import wait_until

FRAME = 30_000

Kept = Callable[[SamplesRequest], Iterable[Series]]


class MeasuringHost:
    """`text`: of this moment; `kept`: what its agent would have kept. `asked`: all that it was asked so far."""

    def __init__(self, there: Served, host: str, *, text: str = "", kept: Kept | None = None) -> None:
        token = (there.world.folder / "agents" / f"{host}.token").read_text().strip()
        self._there, self._headers = there, {"authorization": f"Bearer {token}"}
        self._path = f"/anypop/v1/agents/{host}/streams"
        self.text, self.kept = text, kept
        self.asked: list[Any] = []
        self._left = contextlib.ExitStack()
        self._channel = self._left.enter_context(there.socket(self._path, self._headers))
        threading.Thread(target=self._listen, daemon=True).start()
        connected = there.world.platform.streams
        wait_until(lambda: host in connected.connected, timeout_s=10, reason=f"{host} is connected")

    def close(self) -> None:
        self._left.close()

    def _listen(self) -> None:
        with contextlib.suppress(WebSocketException):
            for message in self._channel:
                asked = from_json(StreamRequest, message)
                self.asked.append(asked.wanted)
                threading.Thread(target=self._answer, args=(asked,), daemon=True).start()

    def _answer(self, asked: StreamRequest) -> None:
        with (
            contextlib.suppress(WebSocketException, OSError),
            self._there.socket(f"{self._path}/{asked.id}", self._headers) as stream,
        ):
            match asked.wanted:
                case MetricsRequest():
                    stream.send(to_json(Opened()), text=True)
                    whole = self.text.encode()
                    for first in range(0, len(whole), FRAME):
                        stream.send(whole[first : first + FRAME])
                case SamplesRequest():
                    self._samples(stream, asked.wanted)
                case _:
                    stream.send(to_json(Opened(refusal=Refusal.BROKEN, message="it only measures")), text=True)

    def _samples(self, stream: Connection, wanted: SamplesRequest) -> None:
        stream.send(to_json(Opened()), text=True)
        for one in self.kept(wanted) if self.kept is not None else ():
            for first in range(0, len(one.points), POINTS_IN_FRAME):
                part = Series(name=one.name, labels=one.labels, points=one.points[first : first + POINTS_IN_FRAME])
                stream.send(to_json(Samples(series=(part,))))


@contextmanager
def measuring(there: Served, host: str, **more: Any) -> Iterator[MeasuringHost]:
    """Until the end of the block."""
    made = MeasuringHost(there, host, **more)
    try:
        yield made
    finally:
        made.close()


def all_the_time(labels: Iterable[Mapping[str, str]], *, began: float, per_s: float = 0.5) -> Kept:
    """What an agent has that went on since `began`: processor time of each incarnation, and of the host itself, where
    there is none in the labels.
    """
    there = [dict(one) for one in labels]

    def answer(wanted: SamplesRequest) -> Iterator[Series]:
        first = -(-wanted.since // wanted.step_s) * wanted.step_s
        moments = [first + n * wanted.step_s for n in range(int((wanted.until - first) / wanted.step_s) + 1)]
        for one in there:
            name, uid = CPU if "incarnation" in one else PULSE, one.get("incarnation")
            if name in (wanted.names or (name,)) and uid in (wanted.uids or (uid,)):
                points = tuple((at, per_s * (at - began)) for at in moments if at >= began)
                yield Series(name=name, labels=tuple(sorted(one.items())), points=points)

    return answer


def labels_on(world: World, host: str) -> list[Mapping[str, str]]:
    """Of each incarnation on a host, by name."""
    state = world.state
    found = [labels for uid in state.incarnations if (labels := labels_of(state, uid)) is not None]
    return sorted((one for one in found if one["host"] == host), key=lambda one: one["instance"])


def line(name: str, value: float, **labels: str) -> str:
    """One sample of a text."""
    inside = ",".join(f'{key}="{labels[key]}"' for key in sorted(labels))
    return f"{name}{{{inside}}} {value}"


def text_of(lines: Iterable[str]) -> str:
    """A whole text."""
    about = ["# HELP anypop_instance_memory_bytes Memory.", "# TYPE anypop_instance_memory_bytes gauge"]
    return "\n".join([*about, *lines, "# EOF", ""])
