"""Changing what runs, under load: an update of eight instances in four PoPs, and a bad image that is taken back.

Requests go from every vantage, each over a connection of its own, one every 2 ms from each, on the anycast address.
What must be zero stands beside its control: the same count while an instance's process is killed without warning, which
has to lose some. The seconds of the update stand beside eight plain starts of the same containers one after the other
through the same Podman sockets.
"""

import contextlib
import io
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import httpx

from anypop.cli import declaration, rollouts, views, watch
from anypop.cli.call import Call, Root
from anypop.cli.demo import kill_container
from anypop.cli.failure import Failure
from anypop.cli.screen import Format
from anypop.lab import build, platform
from anypop.lab.serving import until_serving
from anypop.lab.until import until
from bench.harness import Row, row
from bench.load import Load

TOPOLOGY = Path(__file__).parents[1] / "topologies" / "article.yaml"
RUNS = 3
SLUG = "bench"
INTERVAL_S = 0.002


def rows() -> Iterable[Row]:
    """Rows `rolling_update_failed`, `rolling_update_requests`, `rolling_update_seconds`, `bad_image_failed`,
    `bad_image_requests`, `bad_image_reverted_seconds` and `killed_failed`, the control.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
        state = Path(folder) / "s"
        try:
            place = platform.up(TOPOLOGY, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print)
            with contextlib.redirect_stderr(io.StringIO()):  # progress is for people
                return _Measured(place).rows()
        finally:
            platform.down(state, progress=print, purge=True)


class _Measured:
    def __init__(self, place: platform.Platform) -> None:
        self.place = place
        self.call = Call(Root(), output=Format.JSON, state=place.state, stack="")
        self.vantages = build.attach(place.state / "lab").plan.vantages
        options = declaration.Wanted(
            slug=SLUG,
            image=place.image,
            ports=["80"],
            size="SP-2",
            targets=("na1=JFK,LAX", "eu1=AMS,LHR"),
            replicas=2,
            anycast=True,
        )
        document = declaration.of_options(options)
        workloads = f"{self.call.stack_path('workload')}/workloads"
        made = self.call.client.call("POST", workloads, what=SLUG, body={"workload": document})["workload"]
        watch.until_running(self.call, SLUG, views.expected(made), timeout_s=120)
        self.anycast = views.anycast_of(made)[0]
        until_serving(self.vantages, [self.anycast], port=80, timeout_s=60)

    def rows(self) -> list[Row]:
        updates, floors, bad = [], [], []
        update_failed, update_asked, bad_failed, bad_asked = [], [], [], []
        for number in range(RUNS):
            with self._load() as load:
                updates.append(self._update({"env": {"RELEASE": {"value": str(number)}}}))
            update_failed.append(float(load.failed))
            print(f"update {number + 1}: {load.failed} of {load.asked} failed", *load.errors)
            update_asked.append(float(load.asked))
            floors.append(_starts_one_by_one(self.place))
            with self._load() as load:
                bad.append(self._bad_image(number))
            bad_failed.append(float(load.failed))
            print(f"bad image {number + 1}: {load.failed} of {load.asked} failed", *load.errors)
            bad_asked.append(float(load.asked))
        with self._load() as load:
            self._kill_one()
        return [
            row("rolling_update_failed", update_failed, unit="requests", below=0.5),
            row("rolling_update_requests", update_asked, unit="requests"),
            row(
                "rolling_update_seconds",
                updates,
                unit="s",
                against="eight plain container starts, one after the other",
                floor=floors,
            ),
            row("bad_image_failed", bad_failed, unit="requests", below=0.5),
            row("bad_image_requests", bad_asked, unit="requests"),
            row("bad_image_reverted_seconds", bad, unit="s"),
            row("killed_failed", [float(load.failed)], unit="requests"),
        ]

    def _load(self) -> Load:
        return Load(self.vantages, self.anycast, interval_s=INTERVAL_S)

    def _patch(self, container: dict[str, Any]) -> int:
        wanted = {"spec": {"containers": {"app": container}}}
        made = self.call.client.call("PATCH", self.call.workload_path(SLUG), what=SLUG, body={"workload": wanted})[
            "workload"
        ]
        return int(made["metadata"]["version"])

    def _update(self, container: dict[str, Any]) -> float:
        """Seconds until every instance runs the new revision, by the rollout's own clock."""
        ended = rollouts.until_ended(self.call, SLUG, self._patch(container), timeout_s=180)
        assert ended is not None, "an update of the environment needs a rollout"
        self._settled()
        return float(ended["seconds"])

    def _bad_image(self, number: int) -> float:
        """Seconds until a revision whose image does not exist was taken back."""
        began = time.monotonic()
        revision = self._patch({"image": f"{self.place.image}-missing-{number}"})
        try:
            rollouts.until_ended(self.call, SLUG, revision, timeout_s=180)
        except Failure as failure:
            took = time.monotonic() - began
            assert "reverted" in failure.message, failure.message
            self._settled()
            return took
        raise AssertionError("an image that does not exist was rolled out")

    def _settled(self) -> None:
        path = f"{self.call.workload_path(SLUG, 'anypop')}/rollouts"

        def on_newest() -> bool:
            found = self.call.client.get(path, what=SLUG)
            return bool(found["instances_on_it"] == found["instances"] == 8)

        until(on_newest, timeout_s=120, what="eight instances on the newest revision")

    def _kill_one(self) -> None:
        path = f"{self.call.workload_path(SLUG)}/instances/{SLUG}-eu1-ams-0"

        def restarts() -> int:
            found = self.call.client.get(path, what=SLUG)["instance"]
            return sum(int(s.get("restartCount") or 0) for s in found.get("containerStatuses") or [])

        before = restarts()
        kill_container(self.place.podman("AMS").socket, f"{SLUG}-eu1-ams-0")
        until(lambda: restarts() > before, timeout_s=30, what="the killed instance to be started again")


def _starts_one_by_one(place: platform.Platform) -> float:
    """Seconds to create and start eight containers of the image one after the other, two in each PoP; they are
    removed again.
    """
    limit = {"hard": 1024, "soft": 1024}
    spec = {
        "image": place.image,
        "netns": {"nsmode": "none"},
        "r_limits": [{"type": "nofile", **limit}, {"type": "nproc", **limit}],
    }
    took = 0.0
    for city in place.cities:
        transport = httpx.HTTPTransport(uds=str(place.podman(city).socket))
        with httpx.Client(transport=transport, base_url="http://podman/v4.0.0/libpod", timeout=60) as http:
            for _ in range(2):
                began = time.monotonic()
                identity = str(http.post("/containers/create", json=spec).raise_for_status().json()["Id"])
                http.post(f"/containers/{identity}/start").raise_for_status()
                took += time.monotonic() - began
                http.delete(f"/containers/{identity}", params={"force": True, "timeout": 0})
    return took
