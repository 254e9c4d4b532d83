"""/anypop/v1/drains: take the traffic from a PoP, a host, an upstream or an instance, and bring it back.

In: requests; a PoP, host or upstream is the operator's to drain, an instance its owner's too. Out: drains as they
stand. Which stage follows is `plan.drain`'s to say; nothing here waits for one, whoever wants to see it to its end
watches it.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse

from anypop.api import shapes, told
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.landings import landings_before
from anypop.api.models.drains import DrainAnswer, DrainRequest, Drains
from anypop.control import drains
from anypop.control.accounts import Account, Caller
from anypop.control.refusals import Forbidden, NotFound
from anypop.control.rollouts import new_id
from anypop.control.state import State
from anypop.model.drain import Aim, Drain, DrainKind
from anypop.model.names import StackId

router = APIRouter(prefix="/anypop/v1/drains", tags=["drains"])

DEADLINE_S = 300.0  # longer than BGP takes to settle, and than most downloads
CALM_S = 10.0

DrainRef = Annotated[str, Path(description="a drain's id, or the beginning of it")]


@router.get("")
@answers(Drains)
async def list_drains(
    caller: AskingCaller,
    platform: PlatformDep,
    ended: Annotated[bool, Query(description="also those that are over")] = False,
) -> dict[str, Any]:
    """List the drains that stand, oldest first: all for the operator, those of one's own instances for others."""
    state = platform.core.state
    found = sorted(state.drains.values(), key=lambda d: (d.created_at, d.id))
    mine = [d for d in found if (ended or d.active) and _is_shown(platform, caller, state, d)]
    return {"results": [data_of(platform, caller.account, d) for d in mine]}


@router.get("/{drain_id}")
@answers(DrainAnswer, Code.NOT_FOUND)
async def get_drain(drain_id: DrainRef, caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """Get one drain."""
    return {"drain": data_of(platform, caller.account, _found(platform, caller, drain_id))}


@router.get("/{drain_id}/watch")
@answers(DrainAnswer, Code.NOT_FOUND, media_type="text/event-stream")
async def watch_drain(
    drain_id: DrainRef, caller: AskingCaller, platform: PlatformDep, longest_s: told.LongestS = 0
) -> StreamingResponse:
    """Watch one drain.

    Server-sent events: `drain` with it at once and after each change of more than its age, `gone` when it is forgotten;
    `ended`, with why, when the caller may watch no longer; a comment is a sign of life.
    """
    known = _found(platform, caller, drain_id).id

    def look() -> dict[str, Any] | None:
        drain = platform.core.state.drains.get(known)
        return {"drain": data_of(platform, caller.account, drain)} if drain is not None else None

    return await told.stream(platform, caller, "drain", look, longest_s=longest_s, same=_without_age)


def _without_age(shown: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in shown["drain"].items() if key != "seconds"}


@router.post("")
@answers(DrainAnswer, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED, Code.NOT_FOUND)
async def begin_drain(
    caller: AskingCaller, platform: PlatformDep, body: Annotated[DrainRequest, Depends(JsonBody(DrainRequest))]
) -> dict[str, Any]:
    """Take the traffic from a PoP, a host, an upstream or an instance, stage by stage.

    One that stands already goes on with the new times, and turns round where it was on its way back. What nobody else
    announces in health stays announced, at the lowest preference, for as long as that is so.
    """
    asked = body.drain
    aim = _aim(platform, caller, asked.target, asked.stack)
    before = await landings_before(platform, aim) if drains.standing(platform.core.state, aim) is None else []
    step = drains.begin(
        aim,
        new_id(),
        by=caller.account.name,
        until=asked.until.timestamp() if asked.until is not None else None,
        deadline_s=asked.deadline_s if asked.deadline_s is not None else DEADLINE_S,
        calm_s=asked.calm_s if asked.calm_s is not None else CALM_S,
        baseline=before,
    )
    state = await platform.core.change(step)
    drain = drains.standing(state, aim) or max(
        (d for d in state.drains.values() if (d.kind, d.uid) == (aim.kind, aim.uid)), key=lambda d: d.created_at
    )
    return {"drain": data_of(platform, caller.account, drain)}


@router.post("/{drain_id}/undrain")
@answers(DrainAnswer, Code.FAILED_PRECONDITION, Code.NOT_FOUND)
async def undrain(drain_id: DrainRef, caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """Bring the traffic back, stage by stage.

    Never refused for anybody's health: who is ill is not announced by his host anyway.
    """
    drain = _found(platform, caller, drain_id)
    state = await platform.core.change(drains.undrain(drain.id))
    return {"drain": data_of(platform, caller.account, state.drains[drain.id])}


def _aim(platform: Platform, caller: Caller, target: str, stack: str | None) -> Aim:
    """What is meant, if the caller may drain it. Raises `Forbidden`, `NotFound` and what `drains` raises."""
    state = platform.core.state
    if caller.account.operator:
        found = drains.site_of(state, target) if stack is None else None
        if found is not None:
            return found
        return drains.instance_of(state, target, [platform.accounts.any_stack(stack).id] if stack else None)
    own = _stacks(platform, caller) if stack is None else [platform.stack_of(caller, stack).id]
    try:
        return drains.instance_of(state, target, own)
    except NotFound:
        if "/" in target or target.startswith("host:") or drains.site_of(state, target) is not None:
            raise Forbidden("PoPs, hosts and upstreams are the operator's to drain") from None
        raise


def _stacks(platform: Platform, caller: Caller) -> list[StackId]:
    return [stack.id for stack in platform.stacks_of(caller)]


def _is_shown(platform: Platform, caller: Caller, state: State, drain: Drain) -> bool:
    if caller.account.operator:
        return True
    declared = state.workloads.get(drain.workload_id) if drain.kind is DrainKind.INSTANCE else None
    return declared is not None and declared.stack_id in _stacks(platform, caller)


def _found(platform: Platform, caller: Caller, identity: str) -> Drain:
    """Among those that are shown to the caller. Raises `NotFound`."""
    state = platform.core.state
    return drains.find([d for d in state.drains.values() if _is_shown(platform, caller, state, d)], identity)


def data_of(platform: Platform, account: Account, drain: Drain) -> dict[str, Any]:
    """A drain as people and programs read it."""
    traffic, now = drain.traffic, platform.clock()
    data: dict[str, Any] = {
        "id": drain.id,
        "target": drain.target,
        "kind": drain.kind.value,
        "pop": drain.pop,
        "stage": drain.stage.value,
        "leaves": drain.stage.leaves,
        "reason": drain.reason.value,
        "says": drain.reason.says,
        "message": drain.message,
        "by": drain.by,
        "deadline_s": drain.deadline_s,
        "calm_s": drain.calm_s,
        "until": shapes.moment(drain.until) if drain.until is not None else None,
        "createdAt": shapes.moment(drain.created_at),
        "endedAt": shapes.moment(drain.ended_at) if drain.ended_at is not None else None,
        "seconds": round(max((drain.ended_at or now) - (drain.created_at if drain.ended_at else drain.stage_at), 0), 3),
        "stages": [
            {"stage": r.stage.value, "seconds": round(r.seconds, 3), "differs": r.differs} for r in drain.results
        ],
        "traffic": {
            "first_packets": round(traffic.first_packets, 1),
            "first_bytes": round(traffic.first_octets, 1),
            "packets": round(traffic.packets, 1),
            "bytes": round(traffic.octets, 1),
        }
        if traffic is not None
        else None,
    }
    if account.operator:
        data |= {
            "withdrawn": sorted(str(p) for p in drain.withdrawn),
            "held": [
                {
                    "prefix": str(h.prefix),
                    "reason": h.reason.value,
                    "says": h.reason.says,
                    "left": h.left,
                    "floor": h.floor,
                }
                for h in drain.held
            ],
            "before": _landed(drain.baseline),
            "after": _landed(drain.seen),
            "stuck": list(drain.stuck),
        }
    return shapes.filled(data)


def _landed(found: Any) -> list[dict[str, Any]]:
    return [
        {"prefix": str(landings.prefix), "vantage": look.vantage, "pop": look.pop}
        | ({} if look.asked else {"asked": False})
        for landings in found
        for look in landings.looks
    ]
