"""schemathesis over the committed description of the API: thousands of requests with bodies that fit it and bodies that
do not, and every answer held to it.

In: how many requests for each operation, and a seed. Out: what schemathesis says, which ends with how many it sent. A
control process of its own is asked, with a workload, and a host that answers what control asks of it. `script/fuzz`
runs it whole, a contract test a small part. In the description only names in paths are narrowed to some that are there
and some that are not, since a made-up name finds nothing.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.sync.connection import Connection

from anypop.model.codec import to_json
from anypop.model.streams import InstanceUse, Used, UseRequest
from tests.contract.test_api_process import BASE, Process, running
from tests.contract.test_streams import Agent, opened
from tests.control_world import UPSTREAMS, a_body

ROOT = Path(__file__).parents[1]
PROGRAM = ROOT / ".venv-clients" / "bin" / "st"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance",
)  # fmt: skip
LEFT_OUT = ("rotate_credential",)  # it would end the token of the run itself
# each starts processes of its own, or waits for vantages
SLOW = (
    "predict_landings", "predict_plan", "propose_repairs", "plan_repair", "make_repair", "probe", "run_test",
    "explain_routes",
)  # fmt: skip
THERE = {
    "stack_id": ["default", "none"],
    "workload_id": ["fun", "none"],
    "name": ["fun-eu-ams-0", "fun-eu-lhr-0", "none"],
    "host": ["AMS", "none"],
    "user_id": ["me", "none"],
}
# A host whose agent has no token any more would answer nothing of what follows.
OF_OPERATION = {"delete_workload": {"workload_id": ["doomed", "none"]}, "revoke_host": {"host": ["none"]}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """`sent`: requests; `output`: of schemathesis, for people; `failed`: something was not as described."""

    sent: int
    seconds: float
    failed: bool
    output: str


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The description with names in paths of which some are there, less the paths that are agents' alone, and answers
    that go on for ever.
    """
    paths = {
        path: {method: one for method, one in found.items() if "text/event-stream" not in json.dumps(one["responses"])}
        for path, found in document["paths"].items()
        if not path.startswith("/anypop/v1/agents/")
    }
    for methods in paths.values():
        for operation in methods.values():
            names = {**THERE, **OF_OPERATION.get(operation["operationId"], {})}
            for parameter in operation.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in names:
                    parameter["schema"] = {"type": "string", "enum": names[parameter["name"]]}
    return {**document, "paths": paths}


def tells(stream: Connection, wanted: Any) -> None:
    """A log of one line, and what instances use."""
    opened(stream)
    if isinstance(wanted, UseRequest):
        each = [InstanceUse(uid=uid, cpu_millis=1, memory_bytes=2) for uid in wanted.uids]
        stream.send(to_json(Used(at=0.0, instances=tuple(each))))
    else:
        stream.send(b"a line\n")


@contextmanager
def platform(folder: Path) -> Iterator[Process]:
    with running(folder) as process:
        agents = [Agent(process, pop, tells) for pop in UPSTREAMS]
        try:
            for body in (a_body(), a_body("doomed", replicas=1)):
                process.client.post(BASE, json=body).raise_for_status()
            yield process
        finally:
            for agent in agents:
                agent.close()


def fuzz(folder: Path, *, examples: int, seed: int, left_out: tuple[str, ...] = ()) -> Ran:
    with platform(folder) as process:
        description = folder / "openapi.json"
        description.write_text(json.dumps(narrowed(json.loads((ROOT / "docs" / "openapi.json").read_text()))))
        client = json.loads((folder / "client.json").read_text())
        told = folder / "told.ndjson"
        argv = [
            str(PROGRAM), "run", str(description), "--url", client["url"], "--tls-verify", client["ca"],
            "-H", f"authorization:{process.client.headers['authorization']}", "--checks", ",".join(CHECKS),
            "--phases", "fuzzing", "--mode", "all", "--max-examples", str(examples), "--seed", str(seed),
            "--generation-deterministic", "--no-shrink",
            "--suppress-health-check", "all", "--continue-on-failure",
            "--request-timeout", "30", "--report", "ndjson", "--report-ndjson-path", str(told), "--no-color",
            "--warnings", "off",
        ]  # fmt: skip
        for name in (*LEFT_OUT, *left_out):
            argv += ["--exclude-operation-id", name]
        began = time.monotonic()
        done = subprocess.run(argv, capture_output=True, text=True, cwd=folder, check=False)
        seconds = time.monotonic() - began
        sent = told.read_text().count('"status_code"') if told.exists() else 0
        return Ran(sent=sent, seconds=seconds, failed=done.returncode != 0, output=done.stdout + done.stderr)


def main(argv: list[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="script/fuzz", description=(__doc__ or "").splitlines()[0])
    options.add_argument("--examples", type=int, default=60, help="requests for each operation (60)")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        ran = fuzz(Path(folder), examples=given.examples, seed=given.seed)
    print(ran.output)
    print(f"{ran.sent} requests in {ran.seconds:.0f} s: {'something is wrong' if ran.failed else 'all as described'}")
    return int(ran.failed)


if __name__ == "__main__":
    sys.exit(main())
