"""/anypop/v1/sign-in/links: a link that signs a person in at the portal, once, for whoever has a token already.

In: a token; then the code of a link. Out: a link, which counts once and for ten minutes; then a further token with the
same rights. It is how the first person comes in, before there is any user: `anypop up` and `anypop portal` show one.
"""

import asyncio
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from anypop.api.context import AskingCaller, PlatformDep, bearer
from anypop.api.documentation import answers
from anypop.api.errors import Code
from anypop.api.models.accounts import LinkMade, LinkRequest
from anypop.api.models.identity import Token
from anypop.api.signing_in import OpenBody
from anypop.control import acts
from anypop.control.acts import Act
from anypop.control.links import LIFE_S

router = APIRouter(prefix="/anypop/v1/sign-in/links", tags=["identity"])


@router.post("")
@answers(LinkMade)
async def make_sign_in_link(request: Request, caller: AskingCaller, platform: PlatformDep) -> dict[str, Any]:
    """Make a link that signs a person in at the portal, once and within ten minutes, with the rights of who asks."""
    grant = platform.accounts.tokens.grant(bearer(request))
    await asyncio.to_thread(platform.accounts.tokens.note_link, grant)
    code = platform.links.offer(grant)
    return {"code": code, "path": f"/portal/sign-in/link?code={code}", "expires_in": int(LIFE_S)}


@router.post("/use")
@answers(Token, Code.UNAUTHENTICATED, Code.PERMISSION_DENIED)
async def use_sign_in_link(
    platform: PlatformDep, body: Annotated[LinkRequest, Depends(OpenBody(LinkRequest))]
) -> dict[str, Any]:
    """Sign in by a link."""
    acts.begin(replace(acts.current() or Act(), operation="use_sign_in_link"))
    grant = platform.links.use(body.code)
    acts.begin(replace(acts.current() or Act(), account_id=grant.account_id, actor=platform.accounts.named(grant)))
    made = await asyncio.to_thread(platform.accounts.tokens.again, grant, via="link")
    return {"access_token": made.text, "token_type": "bearer", "expires_in": made.life_s}
