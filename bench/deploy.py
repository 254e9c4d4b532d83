"""Deploying: from the POST to every instance answering on its own and on the anycast address from every vantage; and to
nothing left.

The floor is measured in the same run: the same number of containers of the same image, created and started side by side
through the same Podman sockets, with no network at all. The image is present in both.
"""

import contextlib
import io
import json
import os
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from anypop.cli import declaration, views, watch
from anypop.cli.call import Call, Root
from anypop.cli.screen import Format
from anypop.lab import build, platform
from anypop.lab.serving import until_serving
from bench.harness import Row, row

TOPOLOGY = Path(__file__).parents[1] / "topologies" / "article.yaml"
RUNS = 5
SLUG, KEEPS = "bench", "keeps"


def rows() -> Iterable[Row]:
    """Rows `create_to_running`, `create_to_serving`, `asking` (what of it the questions take: the same ones once more,
    when everything answers) and `delete_to_gone`, in seconds.
    """
    prefix = f"b{os.getpid() % 46656:x}"
    with tempfile.TemporaryDirectory(prefix="anyp-", dir="/tmp") as folder:
        state = Path(folder) / "s"
        try:
            place = platform.up(TOPOLOGY, state=state, prefix=prefix, api_port=0, registry_port=0, progress=print)
            with contextlib.redirect_stderr(io.StringIO()):  # the live table is for people
                return _measure(place)
        finally:
            platform.down(state, progress=print, purge=True)


def _measure(place: platform.Platform) -> list[Row]:
    call = Call(Root(), output=Format.JSON, state=place.state, stack="")
    vantages = build.attach(place.state / "lab").plan.vantages
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
    # hosts drop an image that nobody needs any more: this one stays needed
    _create(call, declaration.of_options(replace(options, slug=KEEPS, replicas=1, anycast=False)), KEEPS)
    running, serving, asking, gone, floor = [], [], [], [], []
    for number in range(RUNS + 1):
        began = time.monotonic()
        made, found = _create(call, document, SLUG)
        ran = time.monotonic() - began
        addresses = [str(instance["externalIpAddress"]) for instance in found] + [
            views.anycast_of(made)[0].split("/")[0]
        ]
        until_serving(vantages, addresses, port=80, timeout_s=60)
        served = time.monotonic() - began
        began = time.monotonic()
        until_serving(vantages, addresses, port=80, timeout_s=60)
        asked = time.monotonic() - began
        began = time.monotonic()
        call.client.call("DELETE", call.workload_path(SLUG), what=SLUG)
        watch.until_gone(call, str(made["id"]), timeout_s=60)
        went = time.monotonic() - began
        started = _floor(place, len(found))
        if number > 0:  # the first round warms up
            running.append(ran)
            serving.append(served)
            asking.append(asked)
            gone.append(went)
            floor.append(started)
    against = "the same containers through the same sockets, no network"
    return [
        row("create_to_running", running, unit="s", against=against, floor=floor),
        row("create_to_serving", serving, unit="s", against=against, floor=floor, below=2, ratio_below=4),
        row("asking", asking, unit="s", against=against, floor=floor),
        row("delete_to_gone", gone, unit="s", against=against, floor=floor),
    ]


def _create(call: Call, document: Any, slug: str) -> tuple[dict[str, Any], watch.Instances]:
    """What was made, and its instances once all run."""
    path = f"{call.stack_path('workload')}/workloads"
    made = call.client.call("POST", path, what=slug, body={"workload": document})["workload"]
    return made, watch.until_running(call, slug, views.expected(made), timeout_s=120)


def _floor(place: platform.Platform, count: int) -> float:
    """Seconds to create and start `count` containers side by side, spread over the PoPs' sockets; they are removed
    again.
    """
    limit = {"hard": 1024, "soft": 1024}
    spec = {
        "image": place.image,
        "netns": {"nsmode": "none"},
        "r_limits": [{"type": "nofile", **limit}, {"type": "nproc", **limit}],
    }
    clients = [
        httpx.Client(
            transport=httpx.HTTPTransport(uds=str(place.podman(city).socket)),
            base_url="http://podman/v4.0.0/libpod",
            timeout=60,
        )
        for city in place.cities
    ]
    homes = [clients[number % len(clients)] for number in range(count)]

    def start(client: httpx.Client) -> str:
        made = client.post("/containers/create", content=json.dumps(spec), headers={"Content-Type": "application/json"})
        identity = str(made.raise_for_status().json()["Id"])
        client.post(f"/containers/{identity}/start").raise_for_status()
        return identity

    with ThreadPoolExecutor(count) as pool:
        began = time.monotonic()
        made = list(pool.map(start, homes))
        took = time.monotonic() - began
        list(
            pool.map(
                lambda pair: pair[0].delete(f"/containers/{pair[1]}", params={"force": True, "timeout": 0}),
                zip(homes, made, strict=True),
            )
        )
    for client in clients:
        client.close()
    return took
