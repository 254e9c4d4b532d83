"""The metrics call of the Workload API: what it may be asked, what hosts are asked for it, and what is said where they
are silent.

A real control process; the agent is played by a thread that speaks the agents' side of a stream.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.connection import Connection

from anypop.model.codec import to_json
from anypop.model.streams import InstanceUse, Used
from tests.contract.test_api_process import BASE, Process, running
from tests.contract.test_streams import Agent, opened
from tests.control_world import a_body

METRICS = "/workload/v1/stacks/default/metrics"
UNABLE = "Unable to get metrics at this time"


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("metrics")) as made:
        assert made.client.post(BASE, json=a_body(cities=("AMS",))).status_code == 200
        assert made.client.post(BASE, json=a_body("far", cities=("LHR",), replicas=1)).status_code == 200
        yield made


def tells(stream: Connection, wanted: Any) -> None:
    """Of each incarnation that it is asked for, and of one that is not its own."""
    opened(stream)
    each = [
        InstanceUse(uid=uid, cpu_millis=250, memory_bytes=1 << 20, received_per_s=1000, sent_per_s=2000)
        for uid in (*wanted.uids, "somebody-elses")
    ]
    stream.send(to_json(Used(at=1.0, instances=tuple(each))))


@contextmanager
def host(process: Process, name: str = "AMS") -> Iterator[Agent]:
    made = Agent(process, name, tells)
    try:
        yield made
    finally:
        made.close()


def ask(process: Process, **query: str) -> Any:
    return process.client.get(METRICS, params=query)


def series(answer: Any) -> list[tuple[dict[str, str], str]]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["status"] == "SUCCESS"
    found = body["data"]["matrix"]["results"]
    assert all(len(one["values"]) == 1 and one["values"][0]["unixTime"].isdigit() for one in found)
    return [(one["metric"], one["values"][0]["value"]) for one in found]


def test_bandwidth_is_split_by_pop_and_instances_tell_processor_and_memory(process: Process) -> None:
    """Of both instances of a PoP together, or of each; what a host says of others does not count."""
    with host(process) as there:
        both = series(ask(process, workload_id="fun"))
        assert [(m["pop"], m["direction"], value) for m, value in both] == [
            ("AMS", "in", "16000"),
            ("AMS", "out", "32000"),
        ]
        assert len(there.asked[0].uids) == 2
        each = series(ask(process, workload_id="fun", type="INSTANCE", group_by="INSTANCE_NAME"))
        assert [(m["name"], m["instance_name"], value) for m, value in each] == [
            ("cpu", "fun-eu-ams-0", "0.25"),
            ("cpu", "fun-eu-ams-1", "0.25"),
            ("memory", "fun-eu-ams-0", "1048576"),
            ("memory", "fun-eu-ams-1", "1048576"),
        ]
        one = series(ask(process, type="instance", instance_name="fun-eu-ams-1", region="EUROPE", pop="ams"))
        assert [value for _, value in one] == ["0.25", "1048576"]


def test_a_silent_host_is_named_and_where_all_are_silent_there_are_no_metrics(process: Process) -> None:
    """The words are those that the API's clients know."""
    with host(process):
        answer = ask(process)
        assert {metric["pop"] for metric, _ in series(answer)} == {"AMS"}
        assert [w for w in answer.json()["warnings"] if w.startswith("host LHR")]
    silent = ask(process, workload_id="far")
    assert (silent.status_code, silent.json()["code"]) == (503, 14)
    assert silent.json()["message"].startswith(UNABLE)


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ({"type": "DISK", "granularity": "PT2M", "region": "MOON", "group_by": "POP", "grouping": "X"}, 5),
        ({"end_date": "2999-01-01T00:00:00Z"}, 2),
        ({"start_date": "yesterday", "end_date": "2026-13-01T00:00:00Z"}, 2),
        ({"start_date": "2020-01-02T00:00:00Z", "end_date": "2020-01-01T00:00:00Z"}, 1),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(process: Process, query: dict[str, str], fields: int) -> None:
    answer = ask(process, **query)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    (found,) = [d["fieldViolations"] for d in answer.json()["details"] if "fieldViolations" in d]
    assert len(found) == fields
    if query.get("end_date", "") > "2900":
        assert answer.json()["message"].startswith(UNABLE)


def test_of_another_time_there_are_no_values_and_that_is_said(process: Process) -> None:
    """No host is asked; a region in which no PoP can be is told too, and an unknown workload is 404."""
    past = ask(process, start_date="2020-01-01T00:00:00Z", end_date="2020-01-02T00:00:00Z")
    assert series(past) == [] and "no history" in past.json()["warnings"][0]
    nowhere = ask(process, region="MARKETPLACE")
    assert series(nowhere) == [] and "MARKETPLACE" in nowhere.json()["warnings"][0]
    assert series(ask(process, region="OCEANIA")) == []
    assert ask(process, workload_id="none").status_code == 404
