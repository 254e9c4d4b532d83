"""A slow and a hanging registry while somebody waits for an image of it.

In: a platform. Out: two kinds of faults: a workload of one instance is asked for with an image that no host has, and
the registry does not answer for some seconds, or a tenth of the time. The workload stays wanted; the next such fault
takes it away and asks for another.
"""

import random
import signal
import time
import urllib.request
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from itertools import count
from typing import Any

from anypop.host import process
from anypop.lab.platform import Platform
from anypop.lab.registry import IMAGE, MANIFESTS
from tests.lab.chaos.fault import HOLD_S, Fault, Maker, sent
from tests.lab.chaos.shell import OneByOne

_NAME, _, _TAG = IMAGE.partition(":")
_TURN_S, _AWAKE = 0.2, 0.1
ASKED_AGAIN_S = 30.0


@dataclass(slots=True)
class Fetching:
    """See the module. `wanted`: workloads and their instances; kept up to date."""

    place: Platform
    wanted: MutableMapping[str, int]
    dice: random.Random
    numbers: Any = None
    last: str = ""

    def kinds(self) -> Mapping[str, Maker]:
        self.numbers = count(1)
        return {"hang registry": self._hang, "slow registry": self._slow}

    def _hang(self) -> Fault | None:
        return self._with_registry("hang registry", awake=0.0)

    def _slow(self) -> Fault | None:
        return self._with_registry("slow registry", awake=_AWAKE)

    def _with_registry(self, kind: str, *, awake: float) -> Fault | None:
        pid = process.alive(self.place.pid_file("registry"))
        if pid is None:
            return None
        number = next(self.numbers)
        slug, tag = f"late-{number}", f"late-{number}"
        self._publish(tag)
        sent(pid, signal.SIGSTOP)
        city = self.dice.choice(self.place.cities)
        shell, image = OneByOne(place=self.place), f"127.0.0.1:{self.place.registry_port}/{_NAME}:{tag}"
        words: list[tuple[str, ...]] = [
            ("workload", "create", slug, "--image", image, "--port", "80", "--size", "SP-1", "--target", f"one={city}",
             "--replicas", "1", "--yes", "--no-wait")
        ]  # fmt: skip
        if self.last:
            words.append(("workload", "delete", self.last, "--yes", "--no-wait"))
            self.wanted.pop(self.last)
        self.wanted[slug], self.last = 1, slug
        said = [shell.try_(*each).code for each in words]

        def goes_on() -> None:
            until = time.monotonic() + (HOLD_S if awake else 0.0)
            while time.monotonic() < until:
                sent(pid, signal.SIGCONT)
                time.sleep(_TURN_S * awake)
                sent(pid, signal.SIGSTOP)
                time.sleep(_TURN_S * (1 - awake))
            sent(pid, signal.SIGCONT)
            deadline = time.monotonic() + ASKED_AGAIN_S
            for code, each in zip(said, words, strict=True):  # control was away: a person asks again
                taken = code == 0
                while not taken and time.monotonic() < deadline:
                    again = shell.try_(*each)
                    taken = again.code == 0 or "exists" in again.err or "no workload" in again.err
                    time.sleep(0.2)

        return Fault(kind=kind, what=f"{slug} in {city}", undo=goes_on, hold_s=0.1 if awake else HOLD_S)

    def _publish(self, tag: str) -> None:
        """The lab's image under one more name, with a layer's worth of nothing new: only its manifest is fetched."""
        base = f"http://127.0.0.1:{self.place.registry_port}/v2/{_NAME}/manifests"
        ask = urllib.request.Request(f"{base}/{_TAG}", headers={"Accept": MANIFESTS})
        with urllib.request.urlopen(ask, timeout=5) as answer:
            body, kind = answer.read(), answer.headers["Content-Type"]
        put = urllib.request.Request(f"{base}/{tag}", data=body, method="PUT", headers={"Content-Type": kind})
        urllib.request.urlopen(put, timeout=5).close()
