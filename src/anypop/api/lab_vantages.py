"""Vantages and the looking glass over a lab on this machine.

Vantages are hosts in the lab's eyeball networks, the looking glass asks its running routers. In: a lab's folder. Out:
`Vantages` and `LookingGlass`. The lab may be built anew while control runs, so its plan is read again when its file has
changed. Blocking; decides nothing.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from anypop.api.vantages import Answer, LookingGlass, Probed, Vantage, Vantages
from anypop.lab import vantage as asking
from anypop.lab.address import VantageHost
from anypop.lab.build import Lab
from anypop.lab.build import attach as attach_lab
from anypop.lab.looking_glass import look
from anypop.model import codec
from anypop.model.announce import Address
from anypop.model.errors import WorldError
from anypop.model.names import CityCode
from anypop.model.network import Network
from anypop.routing.explain import explain, nearest_pop


class _LabFile:
    """The lab of a folder, read again when it was built anew."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[int, Lab] | None = None

    def lab(self) -> Lab:
        """Raises `WorldError` while there is none."""
        try:
            written = (self._folder / "lab.json").stat().st_mtime_ns
        except OSError:
            written = 0
        if self._read is None or self._read[0] != written:
            self._read = (written, attach_lab(self._folder))
        return self._read[1]


class LabVantages:
    """Hosts in the lab's eyeball networks."""

    def __init__(self, file: _LabFile) -> None:
        self._file = file

    def all(self) -> list[Vantage]:
        return [
            Vantage(name=v.name, city=v.city, asn=v.asn, address=str(v.address4))
            for v in self._file.lab().plan.vantages
        ]

    def probe(self, vantage: str, address: Address, port: int, requests: int) -> Probed:
        host = _host(self._file.lab(), vantage)
        if host is None:
            raise WorldError(f"probe from {vantage}", "the lab has no such vantage any more")
        began = time.monotonic()
        try:
            found = asking.probe(host, address, port=port, requests=requests)
        except OSError as error:
            raise WorldError(f"probe from {vantage}", str(error)) from error
        seconds = time.monotonic() - began
        return Probed(
            answers=tuple(
                Answer(body=a.body if a.ok else "", error=a.error or _status(a), seconds=a.seconds, asked=a.asked)
                for a in found
            ),
            seconds=seconds,
        )


class LabGlass:
    """What the lab's routers hold, explained."""

    def __init__(self, file: _LabFile, network: Callable[[], Network]) -> None:
        self._file = file
        self._network = network

    def why(self, target: str, address: Address, pops: Sequence[CityCode]) -> Mapping[str, Any]:
        lab = self._file.lab()
        host = _host(lab, target)
        views = look(lab, address)
        start = host.router if host is not None else target.lower()
        city = host.city if host is not None else views[start].city
        found = explain(views, start, vantage=target, nearest=nearest_pop(city, pops), network=self._network())
        data: Mapping[str, Any] = codec.to_data(found)
        return data

    def entered(self, vantages: Sequence[str], address: Address) -> Mapping[str, CityCode | None]:
        lab = self._file.lab()
        views = look(lab, address)
        hosts = {name: host for name in vantages if (host := _host(lab, name)) is not None}
        return {name: explain(views, host.router, vantage=name).landed for name, host in hosts.items()}


def attach(folder: Path, network: Callable[[], Network]) -> tuple[Vantages, LookingGlass]:
    """Both over the lab in `folder`. The lab need not be there yet."""
    file = _LabFile(folder)
    return LabVantages(file), LabGlass(file, network)


def _host(lab: Lab, name: str) -> VantageHost | None:
    return next((v for v in lab.plan.vantages if v.name == name), None)


def _status(answer: asking.Answer) -> str:
    return "" if answer.ok else f"HTTP status {answer.status}"
