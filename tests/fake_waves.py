"""Changes of scopes in waves, as the small control of `fake_control` tells of them.

In: the body of a request, the rules that hold, where the vantages land by them. Out: a rollout that goes one step
further each time it is asked for: a wave is through or differs at the first look, and what is taken back is restored
at the next.
"""

from collections.abc import Callable
from typing import Any

Rules = dict[tuple[str, str], dict[str, Any]]


class FakeWaves:
    """All rollouts of one small control. `rules` is changed in place."""

    def __init__(self, rules: Callable[[], Rules], lands: Callable[[], dict[str, str | None]]) -> None:
        self.rules, self.lands = rules, lands
        self.rollouts: dict[str, dict[str, Any]] = {}
        self._waves: dict[str, list[dict[str, Any]]] = {}
        self._before: dict[str, Rules] = {}

    def begin(self, body: Any) -> dict[str, Any]:
        identity = f"{len(self.rollouts) + 1:08d}-rollout"
        self._waves[identity] = body["waves"]
        self._before[identity] = dict(self.rules())
        rollout = {
            "id": identity,
            "kind": "scopes",
            "phase": "running",
            "reason": "rolling-out",
            "says": "is being changed",
            "by": "operator",
            "wave": 1,
            "waves": [sorted({rule["pop"] for rule in wave["rules"]}) for wave in body["waves"]],
            "createdAt": "2024-02-01T12:30:05.000000Z",
            **({"vantages": lands} if (lands := self.lands()) else {}),
        }
        self.rollouts[identity] = rollout
        self._apply(body["waves"][0])
        return dict(rollout)

    def further(self, identity: str) -> dict[str, Any]:
        rollout = self.rollouts[identity]
        match rollout["phase"]:
            case "running":
                self._wave(rollout)
            case "reverted" | "aborted":
                rollout["restored"] = True
            case _:
                pass
        return dict(rollout)

    def abort(self, identity: str) -> dict[str, Any]:
        self._taken_back(self.rollouts[identity], "aborted", "somebody asked for it", ["somebody asked for it"])
        return dict(self.rollouts[identity])

    def _wave(self, rollout: dict[str, Any]) -> None:
        waves, number = self._waves[rollout["id"]], int(rollout["wave"])
        seen, expected = self.lands(), waves[number - 1].get("expected") or {}
        differs = [
            f"{vantage} lands in {pop}, predicted {' or '.join(expected[vantage])}"
            for vantage, pop in seen.items()
            if vantage in expected and pop not in expected[vantage]
        ]
        if differs:
            self._taken_back(rollout, "reverted", "it did not come out as predicted", differs)
            return
        results = [*rollout.get("results", ()), {"seconds": 2.5, "seen": seen, "differs": []}]
        if number == len(waves):
            rollout |= {"phase": "done", "says": "is on all instances", "results": results, "seconds": 5.0}
            return
        rollout |= {"wave": number + 1, "results": results}
        self._apply(waves[number])

    def _taken_back(self, rollout: dict[str, Any], phase: str, says: str, differs: list[str]) -> None:
        results = [*rollout.get("results", ()), {"seconds": 60.0, "seen": self.lands(), "differs": differs}]
        rollout |= {"phase": phase, "says": says, "message": "; ".join(differs), "results": results}
        self.rules().clear()
        self.rules().update(self._before[rollout["id"]])

    def _apply(self, wave: dict[str, Any]) -> None:
        for rule in wave["rules"]:
            self.rules()[rule["pop"], rule["upstream"].removeprefix("as")] = rule["scope"]
