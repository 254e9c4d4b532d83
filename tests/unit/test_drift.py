"""What a look had to mend is told, whatever looks follow it and however long control is away."""

import asyncio

from anypop.agent.control_client import ControlClient
from anypop.agent.decide.drift import Drift
from anypop.model.names import CityCode, HostName
from anypop.model.report import Report
from anypop.model.report_limits import TOLD_LINES, told_lines

HOST = HostName("LHR")


def report(*drift: str) -> Report:
    return Report(pop=CityCode("LHR"), host=HOST, at=0.0, generation=1, drift=drift)


def test_a_line_stays_until_control_has_it_and_a_later_look_finds_nothing() -> None:
    """Looks of the same moment add up; a report of before says nothing of what came after it."""
    drift = Drift()
    drift.found(["firewall"])
    drift.found(["router", "firewall"])
    drift.found([])
    assert list(drift.lines) == ["firewall", "router"]
    drift.delivered(report("firewall"))
    drift.found([])
    assert list(drift.lines) == ["firewall", "router"]
    drift.delivered(report("firewall", "router"))
    assert list(drift.lines) == ["firewall", "router"]
    drift.found(["links"])
    assert list(drift.lines) == ["links"]
    drift.delivered(report("links"))
    drift.found([])
    assert list(drift.lines) == []
    drift.delivered(report())
    drift.found(["firewall"])
    assert list(drift.lines) == ["firewall"]


def test_more_lines_than_a_report_has_are_delivered_with_those_it_has() -> None:
    drift = Drift()
    drift.found(str(n) for n in range(TOLD_LINES + 5))
    drift.delivered(report(*told_lines(drift.lines)))
    drift.found([])
    assert list(drift.lines) == []


def test_a_report_that_control_refuses_is_not_delivered() -> None:
    """The next one is, which has what was in it."""
    answers = [(503, b""), (204, b"")]
    taken: list[Report] = []

    class Answers:
        """In place of the connection to control."""

        async def ask(self, *_: object) -> tuple[int, bytes]:
            return answers.pop(0)

        def close(self) -> None:
            pass

    async def run() -> None:
        done = asyncio.Event()

        def delivered(told: Report) -> None:
            taken.append(told)
            done.set()

        client = ControlClient(host=HOST, control="http://control.test", ca=None, token_file=None)
        client._reports = Answers()  # type: ignore[assignment]
        reports = [report("one"), report("one", "two")]
        delivering = asyncio.create_task(client.deliver(lambda: reports[2 - len(answers)], delivered))
        client.changed()
        client._known.set()
        await asyncio.wait_for(done.wait(), 60)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)
        await client.close()

    asyncio.run(run())
    assert taken == [report("one", "two")]
