"""A report within its limits: the agent cuts, and what it has cut is what control takes."""

from dataclasses import replace

from anypop.model.codec import to_json
from anypop.model.names import CityCode, HostName, InstanceName
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, InstanceReport, Phase, Report, SessionReport
from anypop.model.report_limits import LONGEST_LINE, MOST_CONTAINERS, TOLD_LINES, excess, trimmed

LONG = "x" * (LONGEST_LINE + 1)
CONTAINER = ContainerReport(name="web", phase=Phase.RUNNING, reason=Reason.RUNNING)
INSTANCE = InstanceReport(
    name=InstanceName("a"), uid="a", phase=Phase.RUNNING, healthy=True, reason=Reason.RUNNING, containers=(CONTAINER,)
)
SESSION = SessionReport(upstream="as1299", family=4, state="established")
REPORT = Report(
    pop=CityCode("LHR"), host=HostName("LHR"), at=1.0, generation=1, instances=(INSTANCE,), sessions=(SESSION,)
)


def test_an_ordinary_report_is_left_as_it_is() -> None:
    assert trimmed(REPORT) is REPORT and excess(REPORT) == []


def test_what_the_agent_cuts_control_takes() -> None:
    """Long and many lines of every kind; what was cut says so."""
    loud = replace(
        REPORT,
        errors=(LONG,),
        drift=tuple(str(n) for n in range(TOLD_LINES + 9)),
        orphans=(LONG,),
        instances=(replace(INSTANCE, message=LONG, containers=(replace(CONTAINER, message=LONG),)),),
        sessions=(replace(SESSION, error=LONG),),
    )
    assert len(excess(loud)) > 0
    cut = trimmed(loud)
    assert excess(cut) == []
    assert cut.drift[-1] == "and 10 more" and cut.errors[0].endswith(" ...")


def test_what_processes_say_of_their_end_never_makes_a_report_too_long() -> None:
    """However many of them there are: each says less then, and no other instance says nothing."""
    said = replace(CONTAINER, message="\N{FIRE}" * 4000, last_message="\N{FIRE}" * 4000)
    loud = replace(INSTANCE, containers=(said,) * 32, init=(said,) * 32, message="\N{FIRE}" * 4000)
    cut = trimmed(replace(REPORT, instances=(*(loud,) * 60, replace(INSTANCE, message="waits"))))
    assert len(to_json(cut)) < 4 << 20
    assert cut.instances[-1].message == "waits"
    assert cut.instances[0].containers[0].last_message.endswith(" ...")
    assert trimmed(replace(REPORT, instances=(replace(INSTANCE, containers=(said,)),))).instances[0].containers == (
        said,
    )
    assert [p.path for p in excess(replace(REPORT, instances=(replace(INSTANCE, init=(CONTAINER,) * 65),)))] == [
        "instances[0]"
    ]


def test_each_excess_is_told_with_its_path() -> None:
    """One at a time, each is found."""
    for changes, path in (
        ({"instances": (replace(INSTANCE, started_at=float("nan")),)}, "instances[0]"),
        ({"instances": (replace(INSTANCE, containers=(replace(CONTAINER, finished_at=1e300),)),)}, "instances[0]"),
        ({"instances": (replace(INSTANCE, containers=(CONTAINER,) * (MOST_CONTAINERS + 1)),)}, "instances[0]"),
        ({"sessions": (replace(SESSION, since=float("inf")),)}, "sessions[0]"),
        ({"gone": (LONG,)}, "gone[0]"),
        ({"at": -1.0}, "at"),
        ({"sessions": (SESSION,) * 2000}, "sessions"),
    ):
        assert [p.path for p in excess(replace(REPORT, **changes))] == [path]
