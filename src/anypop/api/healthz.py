"""/anypop/v1/healthz: whether this control is ready to be used, for monitors and load balancers.

In: a request without any token. Out: 200 where changes can be taken: the store can be written, this control holds the
lease, and it is not about to end; else 503 with which of these it is. No names, no paths, no words of the database.
"""

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from anypop.api.context import PlatformDep
from anypop.api.documentation import answers
from anypop.api.errors import Code, answer
from anypop.api.models.platform import Health

router = APIRouter(prefix="/anypop/v1", tags=["platform"])


@router.get("/healthz", response_model=None)
@answers(Health, Code.UNAVAILABLE)
async def get_health(platform: PlatformDep) -> dict[str, Any] | JSONResponse:
    """Ask whether control is ready; needs no token.

    Ready: changes can be taken. Not ready (503): it stands by, its store cannot be written, or it ends. Reads are
    answered all the same; the log has the reason.
    """
    if platform.core.bell.closed:
        return answer(Code.UNAVAILABLE, "not ready: control ends")
    age = max(0.0, round(platform.clock() - platform.core.state.decided_at, 3))
    if platform.standby is not None:
        return answer(Code.UNAVAILABLE, f"not ready: this control stands by; it has read the store {age:g} s ago")
    if await asyncio.to_thread(platform.core.store.ask_whether_it_can_be_written):
        return answer(Code.UNAVAILABLE, f"not ready: the store cannot be written; the last step was {age:g} s ago")
    return {"status": "ok", "store": "writable", "lease": "held", "plan_age_s": age}
