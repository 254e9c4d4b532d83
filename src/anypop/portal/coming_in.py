"""How somebody new comes in: by the link of an invitation, or by asking for an account.

In: forms of those who have no session. Out: a session, by the API's own operations; or a token, shown once, with which
whoever asked comes in once the operator has approved. A link is not used up by being looked at.
"""

from urllib.parse import urlencode

from starlette.responses import Response

from anypop.portal.calls import Refused
from anypop.portal.signing_in import enter, has_provider
from anypop.portal.visit import SIGN_IN, Page, Visit

INVITED = f"{SIGN_IN}/invitation"
ASK = f"{SIGN_IN}/ask"


async def invited(visit: Visit) -> Response:
    return await _invited(visit, token=visit.request.query_params.get("token", ""))


async def _invited(visit: Visit, *, token: str, name: str = "", refused: Refused | None = None) -> Response:
    return visit.page(
        "invited.html",
        status=refused.status if refused is not None else 200,
        token=token,
        name=name,
        refused=refused,
        provider=f"{SIGN_IN}/oidc?{urlencode({'invitation': token})}" if token and await has_provider(visit) else "",
    )


async def come(visit: Visit) -> Response:
    form = visit.form
    token, name = form.get("token", "").strip(), form.get("name", "").strip()
    body = {"token": token, "name": name, "password": form.get("password", "")}
    try:
        made = await visit.api.send("POST", "anypop/v1/invitations/accept", body=body)
    except Refused as refused:
        return await _invited(visit, token=token, name=name, refused=refused)
    return enter(visit, made, "/portal/")


async def ask(visit: Visit) -> Response:
    return visit.page("ask.html", refused=None, made=None, link="", kept={})


async def asked(visit: Visit) -> Response:
    body = {"account": visit.form.get("account", "").strip(), "note": visit.form.get("note", "").strip()}
    try:
        made = (await visit.api.send("POST", "anypop/v1/account-requests", body=body))["invitation"]
    except Refused as refused:
        return visit.page("ask.html", status=refused.status, refused=refused, made=None, link="", kept=visit.form)
    url = visit.request.url
    link = f"{url.scheme}://{url.netloc}{INVITED}?{urlencode({'token': made['token']})}"
    return visit.page("ask.html", refused=None, made=made, link=link, kept={})


# for anybody
PAGES: tuple[tuple[str, str, Page], ...] = (
    ("GET", INVITED, invited),
    ("POST", INVITED, come),
    ("GET", ASK, ask),
    ("POST", ASK, asked),
)
