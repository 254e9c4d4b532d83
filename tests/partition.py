"""A host that is cut off while it is scraped, with real processes: control, and Prometheus that scrapes it.

In: a folder. Out: a scene: the host's agent, played by a thread that measures once a second whoever asks, is cut off
and returns; and what the store has of it.
"""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
from websockets.sync.connection import Connection

from anypop.control.metrics.filling import PULSE, holes_in
from anypop.control.metrics.settings import StoreSettings
from anypop.lab.preflight import free_port
from anypop.model.codec import to_json
from anypop.model.streams import MetricsRequest, Samples, SamplesRequest, Series
from tests.contract.test_api_process import Process, running
from tests.contract.test_streams import Agent, opened
from tests.measured import line, text_of
from tests.metric_stores import PASSWORD, prometheus
from tests.wait import wait_until

INTERVAL = 1.0
PLACE = {"pop": "AMS", "host": "AMS"}
PATIENCE_S = 60.0
BEGAN = time.time()  # before it the host measured nothing


class Partition:
    """`control`: the process; `store`: the engine that scrapes it. Use as a context manager; the host is scraped when
    it begins.
    """

    def __init__(self, folder: Path, store: Callable[..., AbstractContextManager[StoreSettings]] = prometheus) -> None:
        self.folder, self._store = folder, store
        self._left = ExitStack()
        self._back_at = 0.0

    def __enter__(self) -> "Partition":
        folder, port = self.folder, free_port()
        password, file = folder / "password", folder / "metrics.yaml"
        password.write_text(PASSWORD)
        password.chmod(0o600)
        signs_in = f"user: anypop, password_file: {password}"
        file.write_text(f"store: {{url: 'http://127.0.0.1:{port}', {signs_in}, interval_s: {INTERVAL}}}")
        more = ("--metrics", str(file), "--scrape-file", str(folder / "scrape.json"))
        self.control: Process = self._left.enter_context(running(folder, program=("-m", "anypop.api", *more)))
        credential = json.loads((folder / "scrape.json").read_text())
        self.settings = self._left.enter_context(
            self._store(folder / "store", credential=credential, interval=INTERVAL, port=port)
        )
        self._agent = Agent(self.control, "AMS", measures)
        wait_until(lambda: len(self.times()) >= 3, timeout_s=PATIENCE_S, reason="the host is scraped by way of control")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._agent.close()
        self._left.close()

    def asked(self, promql: str) -> list[dict[str, Any]]:
        """What the store answers."""
        answer = httpx.get(
            f"{self.settings.url}/api/v1/query",
            params={"query": promql},
            auth=(self.settings.user, self.settings.password),
            trust_env=False,
            timeout=20,
        )
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def times(self) -> list[float]:
        """When there are samples of the host."""
        found = self.asked(f'{PULSE}{{host="AMS"}}[1h]')
        return sorted(float(at) for series in found for at, _ in series["values"])

    def cut_off(self, scrapes: int) -> float:
        """Until so many scrapes have failed; when the last sample before it was."""
        self._agent.close()
        failed = f'count_over_time((up{{host="AMS"}} == 0)[1h:{INTERVAL:g}s])'
        wait_until(
            lambda: any(float(one["value"][1]) >= scrapes for one in self.asked(failed)),
            timeout_s=PATIENCE_S + scrapes,
            reason="scrapes fail",
        )
        return self.times()[-1]

    def missing(self, *, until: float | None = None) -> float:
        """For how many seconds there are no samples, up to a moment or the one when the host was back. What is missed
        later is not of the partition: a scrape each second fails by itself where the machine is busy.
        """
        times = self.times()
        found = holes_in(times, since=times[0], until=until or self._back_at, now=self.now(), interval=INTERVAL)
        return sum(hole.end - hole.start - INTERVAL for hole in found)

    def returns(self, last: float) -> None:
        """The host; and until it is scraped again and nothing is missing since the sample `last`."""
        self._agent = Agent(self.control, "AMS", measures)
        self._back_at = self.now()

        def whole() -> bool:
            return self.times()[-1] > last + 2 * INTERVAL and self._is_scraped() and not self.missing()

        wait_until(whole, timeout_s=PATIENCE_S, reason="what is missing is filled in")

    def _is_scraped(self) -> bool:
        return any(one["value"][1] == "1" for one in self.asked('up{host="AMS"}'))

    def now(self) -> float:
        return time.time()


def measures(stream: Connection, wanted: Any) -> None:
    """One sample each second, whatever happens to the connection."""
    opened(stream)
    match wanted:
        case MetricsRequest():
            stream.send(text_of([line(PULSE, 1, **PLACE)]).encode())
        case SamplesRequest():
            first = int(max(wanted.since, BEGAN)) + 1
            points = tuple((float(at), 1.0) for at in range(first, int(wanted.until) + 1, int(wanted.step_s)))
            stream.send(to_json(Samples(series=(Series(name=PULSE, labels=tuple(PLACE.items()), points=points),))))
