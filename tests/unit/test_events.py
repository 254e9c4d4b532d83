"""Events are a closed set, and each kind has the same fields whenever it happens."""

import re
from pathlib import Path

import anypop
from anypop.model.events import EventKind

SOURCE = Path(anypop.__file__).parent


def test_every_kind_can_happen_and_only_these() -> None:
    """Each stands in the one place that makes events; those of rollouts that ended follow from the phase."""
    text = "".join(
        (SOURCE / name).read_text()
        for name in (
            *(f"control/{of}.py" for of in ("history", "drain_events", "dial_events", "scaling_events")),
            *(f"api/{of}.py" for of in ("acme", "certificates", "certificate_files")),
        )
    )
    made = set(re.findall(r"EventKind\.([A-Z_]+)", text))
    by_phase = {
        kind.name
        for kind in EventKind
        if kind.value.removeprefix("rollout-") in ("running", "paused", "done", "reverted", "aborted", "superseded")
    }
    assert made | by_phase == {kind.name for kind in EventKind}


def test_every_kind_is_explained() -> None:
    """In the API's manual, by its stable spelling."""
    page = (SOURCE.parents[1] / "docs" / "api.md").read_text()
    assert [kind.value for kind in EventKind if f"`{kind.value}`" not in page] == []
