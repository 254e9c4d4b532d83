"""/anypop/v1/dials: how much of its new connections a PoP keeps, of one workload or of all.

In: requests; a workload is its owner's to dial, a whole PoP the operator's. Out: the dials that stand, and whether the
hosts do what they say. What is not kept goes to other PoPs by the backbone; who takes it is decided on the hosts.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import StreamingResponse

from anypop.api import shapes, told
from anypop.api.bodies import JsonBody
from anypop.api.context import AskingCaller, Platform, PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.dials import DialAnswer, DialBody, DialRequest, Dials
from anypop.control import dials
from anypop.control.accounts import Caller
from anypop.control.refusals import Forbidden, NotFound
from anypop.control.shedding import load_of
from anypop.control.state import Declaration, State
from anypop.model.dial import WHOLE, Dial
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, WorkloadId

router = APIRouter(prefix="/anypop/v1/dials", tags=["dials"])


@router.get("")
@answers(Dials)
async def list_dials(caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """List the dials that stand: all for the operator, those of one's own workloads for others."""
    return _listed(platform, caller)


@router.get("/watch")
@answers(Dials, media_type="text/event-stream")
async def watch_dials(caller: AskingCaller, platform: PlatformDep, longest_s: told.LongestS = 0) -> StreamingResponse:
    """Watch the dials that stand.

    Server-sent events: `dials` with all of them at once and after each change; `ended`, with why, when the caller may
    watch no longer; a comment is a sign of life.
    """
    return await told.stream(platform, caller, "dials", lambda: _listed(platform, caller), longest_s=longest_s)


def _listed(platform: Platform, caller: Caller) -> dict[str, Any]:
    return {"results": [data_of(platform.core.state, d) for d in shown(platform, caller) if stands(d)]}


@router.put("")
@answers(DialAnswer, Code.FAILED_PRECONDITION, Code.PERMISSION_DENIED, Code.NOT_FOUND, Code.ABORTED)
async def set_dial(
    caller: AskingCaller, platform: PlatformDep, body: Annotated[DialRequest, Depends(JsonBody(DialRequest))]
) -> dict[str, Any]:
    """Have a PoP keep this much of its new connections, of one workload or of all.

    Connections that stand stay where they are. Of several dials that name an address the lowest counts. Where nobody
    else can take what would leave, all of it is served where it comes in.
    """
    asked = body.dial
    workload = _workload(platform, caller, asked)
    sheds = "shed_above" in asked.model_fields_set
    if asked.percent is None and not sheds:
        raise Invalid.one("dial.percent", "is required, where nothing is said of shedding")
    if sheds and workload is not None:
        raise Invalid.one("dial.shed_above", "is a whole PoP's: a workload has no load of its own")
    identity = workload.id if workload is not None else WorkloadId("")
    step = dials.dial(
        asked.pop, identity, percent=asked.percent, shed_above=asked.shed_above, sheds=sheds, note=asked.note or "",
        version=asked.version, by=caller.account.name, operator=caller.account.operator,
    )  # fmt: skip
    state = await platform.core.change(step)
    one = state.dials.get((CityCode(asked.pop.upper()), identity)) or Dial(pop=CityCode(asked.pop.upper()), version=0)
    return {"dial": data_of(state, one)}


def _workload(platform: Platform, caller: Caller, asked: DialBody) -> Declaration | None:
    """The workload that is meant, if the caller may dial it; None: a whole PoP."""
    operator = caller.account.operator
    if asked.workload is None:
        if not operator:
            raise Forbidden("a whole PoP is the operator's to dial: name a workload of yours")
        return None
    accounts, state = platform.accounts, platform.core.state
    if asked.stack is not None:
        stacks = [accounts.any_stack(asked.stack) if operator else platform.stack_of(caller, asked.stack)]
    else:
        stacks = platform.stacks_of(caller)
    found = [d for stack in stacks if (d := state.find(stack.id, asked.workload)) is not None]
    if not found:
        raise NotFound(f"no workload {asked.workload}")
    if len(found) > 1:
        raise Invalid.one("dial.workload", f"{asked.workload} is there in {len(found)} stacks: say which (stack)")
    return found[0]


def shown(platform: Platform, caller: Caller) -> list[Dial]:
    """Those that the caller may see, by PoP, the whole one first."""
    state = platform.core.state
    own = None if caller.account.operator else {stack.id for stack in platform.stacks_of(caller)}
    found = [
        d for d in state.dials.values()
        if own is None or ((w := state.workloads.get(d.workload_id)) is not None and w.stack_id in own)
    ]  # fmt: skip
    return sorted(found, key=lambda d: (d.pop, d.workload_id))


def stands(one: Dial) -> bool:
    """Whether it does anything, or may."""
    return one.keeps < WHOLE or one.shed_above is not None


def data_of(state: State, one: Dial) -> dict[str, Any]:
    """A dial as people and programs read it."""
    declared = state.workloads.get(one.workload_id)
    force, reason = dials.in_force(state, one)
    load = load_of(state, one.pop)
    return shapes.filled(
        {
            "pop": one.pop,
            "workload": declared.workload.slug if declared is not None else None,
            "stack": declared.workload.stack_slug if declared is not None else None,
            "percent": one.percent,
            "keeps": one.keeps,
            "in_force": force.value,
            "reason": reason.value,
            "says": reason.says,
            "version": one.version,
            "note": one.note,
            "by": one.by,
            "by_operator": one.by_operator,
            "setAt": shapes.moment(one.at) if one.version else None,
            "shed_above": one.shed_above,
            "shed_to": one.shed_to if one.shed_above is not None else None,
            "load": round(load, 1) if one.shed_above is not None and load is not None else None,
        }
    )


def words_of(state: State, city: CityCode) -> str:
    """Of a whole PoP, for a table: `keeps 50 % of its new connections`; empty: it is not dialled."""
    one = state.dials.get((city, WorkloadId("")))
    if one is None or one.keeps >= WHOLE:
        return ""
    force, reason = dials.in_force(state, one)
    return f"keeps {one.keeps} % of its new connections ({force.value}: it {reason.says})"
