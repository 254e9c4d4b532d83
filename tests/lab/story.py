"""What the story's tests ask: commands as a user types them, answers as data."""

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anypop.cli.main import run
from anypop.lab import platform
from tests.wait import wait_until

WORKLOAD = "stackpath-anycast-fun"
VANTAGES = {"amsterdam": "AMS", "london": "JFK", "new-york": "JFK", "seattle": "LAX", "vancouver": "LAX"}
HOME = VANTAGES | {"london": "LHR"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """`anypop WORDS` against one platform."""

    place: platform.Platform

    def try_(self, *words: str) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = run(["--state", str(self.place.state), *words])
        return Said(code=code, out=out.getvalue(), err=err.getvalue())

    def json(self, *words: str) -> Any:
        said = self.try_(*words, "-o", "json")
        assert said.code == 0, said.err
        return said.data

    def create(self, slug: str = WORKLOAD, *more: str) -> dict[str, Any]:
        targets = ("--target", "na1=JFK,LAX", "--target", "eu1=AMS,LHR")
        words = (
            "workload",
            "create",
            slug,
            "--image",
            self.place.image,
            "--port",
            "80",
            "--size",
            "SP-2",
            *targets,
            "--replicas",
            "2",
        )
        made: dict[str, Any] = self.json(*words, "--anycast", "--yes", "--timeout", "60", *more)
        return made

    def lands(self, *vantages: str, requests: int = 1) -> dict[str, str | None]:
        """PoP by vantage, from requests that may fail."""
        said = self.try_("probe", *(vantages or ("--all",)), "--requests", str(requests), "-o", "json")
        return {row["vantage"]: row["pop"] for row in said.data}

    def until_lands(self, expected: dict[str, str], *, timeout_s: float = 20) -> None:
        wait_until(
            lambda: self.lands(*expected) == expected,
            timeout_s=timeout_s,
            reason=f"vantages land as {expected}",
        )

    def instance(self, name: str) -> dict[str, Any]:
        return next(i for i in self.json("instances", name.rsplit("-", 3)[0]) if i["name"] == name)

    def log(self, program: str) -> Path:
        return self.place.log(program)
