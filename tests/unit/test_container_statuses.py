"""Containers as the Workload API shows them: waiting, running, terminated, and how the life before ended."""

from dataclasses import replace

from anypop.api.models.workloads import ContainerStatus, MachineStatus
from anypop.api.shapes import container_status, machine_status
from anypop.model.reasons import Reason
from anypop.model.report import ContainerReport, Phase

ENDED = ContainerReport(
    name="web", phase=Phase.FAILED, reason=Reason.BACK_OFF, message="out of cheese", container_id="c1", started_at=10.0,
    finished_at=20.0, exit_code=3, restarts=4, last_exit_code=3, last_reason=Reason.EXITED, last_finished_at=20.0,
    last_message="out of cheese",
)  # fmt: skip
START, END = "1970-01-01T00:00:10.000000Z", "1970-01-01T00:00:20.000000Z"


def test_what_ended_and_waits_for_its_next_start_shows_both() -> None:
    shown = container_status(ENDED)
    assert shown == {
        "name": "web", "phase": "FAILED", "ready": False, "restartCount": 4, "containerId": "c1", "startedAt": START,
        "finishedAt": END,
        "terminated": {
            "exitCode": 3, "reason": "exited", "message": "out of cheese", "startedAt": START, "finishedAt": END
        },
        "waiting": {"reason": "back-off", "message": "waits before the next try"},
    }  # fmt: skip
    ContainerStatus.model_validate(shown)


def test_an_init_container_that_has_done_its_work_is_ready_and_waits_for_nothing() -> None:
    completed = Reason.COMPLETED
    done = replace(
        ENDED, phase=Phase.STOPPED, reason=completed, exit_code=0, last_reason=completed, ready=True, message=""
    )  # fmt: skip
    shown = container_status(done)
    assert (shown["phase"], shown["ready"], "waiting" in shown) == ("STOPPED", True, False)
    assert shown["terminated"] == {"exitCode": 0, "reason": "completed", "startedAt": START, "finishedAt": END}


def test_what_waits_for_init_containers_says_so() -> None:
    shown = container_status(ContainerReport(name="web", phase=Phase.STARTING, reason=Reason.INITIALIZING))
    assert shown["waiting"] == {"reason": "initializing", "message": "waits for its init containers"}


def test_a_virtual_machine_has_one_reason_and_one_message() -> None:
    """As StackPath's API has it: phase, reason and message beside each other."""
    assert machine_status(ENDED) == {
        "name": "web", "phase": "FAILED", "ready": False, "restartCount": 4, "startedAt": START, "finishedAt": END,
        "reason": "exited", "message": "out of cheese",
    }  # fmt: skip
    MachineStatus.model_validate(machine_status(ENDED))
    runs = ContainerReport(name="vm", phase=Phase.RUNNING, reason=Reason.RUNNING, started_at=10.0, ready=True)
    assert machine_status(runs) == {
        "name": "vm", "phase": "RUNNING", "ready": True, "restartCount": 0, "startedAt": START, "reason": "running",
    }  # fmt: skip
