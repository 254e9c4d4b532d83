"""A change of scopes in waves: asked of control, then watched to its end.

In: waves of rules, perhaps with what each vantage should see after each. Out: control's rollout as it ended, told line
by line as it goes. Control drives it: when this command is interrupted, killed or loses control, the rollout goes on
and ends by itself.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anypop.cli import rollouts, views
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure
from anypop.model.announce import Scope
from anypop.model.scopes import scope_data

# Beyond its deadlines a rollout needs little: control's own restart, a look whose requests run into their timeouts.
SLACK_S = 60.0


def wave(
    scopes: Mapping[tuple[str, str], Scope], *, note: str = "", expected: Mapping[str, frozenset[str]] | None = None
) -> dict[str, Any]:
    """One wave as the API takes it. `scopes`: by PoP and upstream. `expected`: per vantage the PoPs where it may
    land.
    """
    rules = [
        {"pop": pop, "upstream": upstream, "scope": scope_data(scope), "note": note}
        for (pop, upstream), scope in scopes.items()
    ]
    return {"rules": rules, "expected": {vantage: sorted(pops) for vantage, pops in (expected or {}).items()}}


def begin(call: Call, workload: str, waves: Sequence[Mapping[str, Any]], strategy: Mapping[str, float]) -> views.Data:
    """Ask for it; the rollout that was begun."""
    path = f"{call.workload_path(workload, 'anypop')}/rollouts"
    body = {"waves": list(waves), "strategy": dict(strategy)}
    # before anything changes control looks where the vantages land, and one that gets no answers takes its time
    try:
        found = call.client.call("POST", path, what=f"change scopes of {workload}", body=body, patience_s=600)
    except KeyboardInterrupt:
        call.screen.note("", f"control was asked already and may have begun: anypop rollout list {workload}")
        raise
    rollout: views.Data = found["rollout"]
    return rollout


def to_the_end(
    call: Call, workload: str, rollout: views.Data, *, deadline_s: float, bake_s: float, well: str
) -> views.Data:
    """The rollout once it has ended, and once it is known whether the vantages land as before where it was taken back.
    `deadline_s`, `bake_s`: its strategy. `well`: what to call a wave that is through. `Failure` when it is paused, or
    does not end in time.
    """
    identity = str(rollout["id"])
    count = len(rollout.get("waves") or [])
    ends_by = time.monotonic() + count * (2 * deadline_s + bake_s) + SLACK_S
    restored_by: float | None = None
    told = 0
    silent = False
    try:
        while True:
            lines = list(progress(rollout, well))
            call.screen.note(*lines[told:])
            told = len(lines)
            now = time.monotonic()
            match rollout.get("phase"):
                case "running":
                    left = ends_by - now
                    if left <= 0:
                        raise _unfinished(workload, rollout, "is still under way")
                case "paused":
                    raise _unfinished(workload, rollout, "is paused")
                case "reverted" | "aborted" if _is_awaited(rollout):
                    restored_by = restored_by if restored_by is not None else now + deadline_s + bake_s + SLACK_S
                    left = restored_by - now
                    if left <= 0:
                        return rollout
                case _:
                    return rollout
            newer = _news(call, workload, rollout, left)
            if newer is None and not silent:
                call.screen.note("control does not answer; it goes on with this when it is back")
            silent = newer is None
            rollout = newer or rollout
    except KeyboardInterrupt:
        short = identity[:8]
        call.screen.note(
            "", "only the watching ends: control goes on with it",
            f"  watch it again:  anypop rollout wait {workload} {short}",
            f"  take it back:    anypop rollout abort {workload} {short}",
        )  # fmt: skip
        raise


def progress(rollout: views.Data, well: str) -> Iterator[str]:
    """All that has happened so far, in lines; of the same rollout later the same lines, and more. `well`: see
    `to_the_end`.
    """
    waves, results = rollout.get("waves") or [], rollout.get("results") or []
    for number, pops in enumerate(waves[: max(int(rollout.get("wave") or 0), len(results))], 1):
        yield f"wave {number} of {len(waves)}: {' '.join(pops)}"
        if number > len(results):
            break
        result = results[number - 1]
        if result["differs"]:
            yield from (f"  {line}" for line in result["differs"])
        else:
            seen = ", ".join(f"{vantage} {pop or '-'}" for vantage, pop in result["seen"].items())
            yield f"  {well} after {result['seconds']:.1f} s" + (
                f": {seen}" if seen else " (no vantage to see it from)"
            )
    match rollout.get("phase"):
        case "reverted":
            yield "the outcome differs: taking everything back"
        case "aborted":
            yield "somebody ended it: taking everything back"
        case _:
            return
    if (restored := rollout.get("restored")) is not None:
        yield (
            "every vantage lands as before"
            if restored
            else "some vantage does not land as before yet: 'anypop probe --all' shows it"
        )


def course(rollout: views.Data) -> dict[str, Any]:
    """How it went, as the result of a command. `restored`: None where nobody could tell."""
    done = rollout.get("phase") == "done"
    results = rollout.get("results") or []
    return {
        "rollout": rollout.get("id"),
        "applied": done,
        "rolled_back": not done,
        "restored": True if done else rollout.get("restored"),
        "waves": [
            {"pop": " ".join(pops), **result} for pops, result in zip(rollout.get("waves") or [], results, strict=False)
        ],
    }


def taken_back(rollout: views.Data, *, what: str, why: str, advice: str) -> Failure:
    """What to say of a rollout that was not done. `what`: "the repair". `why`: where nobody asked for it."""
    if rollout.get("phase") == "aborted":
        return Failure(f"{what} was taken back: {rollout.get('says')}")
    differs = [line for result in rollout.get("results") or [] for line in result["differs"]]
    return Failure(f"{what} was taken back: {why}", problems=differs, advice=advice)


def _is_awaited(rollout: views.Data) -> bool:
    """Whether control has yet to say if the vantages land as before. Of a workload that is being deleted it never
    does.
    """
    return (
        bool(rollout.get("vantages") or rollout.get("unasked"))
        and rollout.get("restored") is None
        and rollout.get("reason") != "workload-deleted"
    )


def _unfinished(workload: str, rollout: views.Data, how: str) -> Failure:
    short = str(rollout["id"])[:8]
    return Failure(
        f"the change of scopes of {workload} {how}" + (f": {rollout['message']}" if rollout.get("message") else ""),
        code=Exit.TIMEOUT,
        advice=(
            f"Go on with 'anypop rollout resume {workload} {short}', watch it with 'wait', or take it back with "
            "'abort'."
        ),
    )


def _news(call: Call, workload: str, rollout: views.Data, left: float) -> views.Data | None:
    """The rollout after the next news of it. None where control does not answer: it may be back soon."""
    try:
        rollouts.next_news(call, workload, rollout, left)
        return rollouts.one(call, workload, str(rollout["id"]))
    except Failure as failure:
        if failure.code is not Exit.UNREACHABLE:
            raise
        time.sleep(rollouts.POLL_S)
        return None
