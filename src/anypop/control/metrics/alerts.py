"""Tells a webhook of the operator which alerts begin and end, without an Alertmanager.

In: what the store's rules say, asked every few seconds. Out: one signed request for each change, repeated until it is
taken.
The address is the operator's own, from a file; yet its name is looked up for each request, and the request goes to the
very address that was looked at: none of this machine's own link (where clouds keep their secrets). No redirect is
followed, and nothing of the answer but its code counts.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from anypop.control.metrics.settings import WebhookSettings
from anypop.control.metrics.store import MetricsStore
from anypop.model.errors import WorldError
from anypop.outgoing.posting import Poster

log = logging.getLogger("anypop.control")

LOOK_S = 5.0  # rules are evaluated no more often
ANSWER_S = 10.0
AGAIN_S, AGAIN_AT_MOST_S = 2.0, 300.0
MOST_ALERTS = 1000  # told in one request; so many at once say the same as more
SIGNATURE, MOMENT = "x-anypop-signature", "x-anypop-moment"

Key = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    since: str

    @property
    def key(self) -> Key:
        return tuple(sorted(self.labels.items()))


def firing(told: Sequence[Mapping[str, Any]]) -> dict[Key, Alert]:
    """Those that have lasted for as long as their rules say."""
    found = [
        Alert(
            labels={str(k): str(v) for k, v in (one.get("labels") or {}).items()},
            annotations={str(k): str(v) for k, v in (one.get("annotations") or {}).items()},
            since=str(one.get("activeAt", "")),
        )
        for one in told
        if one.get("state") == "firing"
    ]
    return {one.key: one for one in found[:MOST_ALERTS]}


def body_of(begun: Sequence[Alert], ended: Sequence[Alert]) -> bytes:
    """As an Alertmanager's webhook has it (version 4), so that what reads those reads these."""
    alerts = [
        {"status": status, "labels": dict(one.labels), "annotations": dict(one.annotations), "startsAt": one.since}
        for status, some in (("firing", begun), ("resolved", ended))
        for one in some
    ]
    return json.dumps(
        {"version": "4", "receiver": "anypop", "status": "firing" if begun else "resolved", "alerts": alerts}
    ).encode()


def signature(secret: str, moment: str, body: bytes) -> str:
    """HMAC-SHA256 over the moment, a dot and the body: an old request cannot be sent again as a new one."""
    return "sha256=" + hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


class Alerts:
    """Of one control. `active`: whether this control is the one that tells."""

    def __init__(
        self,
        store: MetricsStore,
        webhook: WebhookSettings,
        clock: Callable[[], float],
        *,
        active: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store, self._webhook, self._clock, self._active = store, webhook, clock, active
        self._told: dict[Key, Alert] = {}
        parts = urlsplit(webhook.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self._poster = Poster(webhook.url, port, why_not, patience_s=ANSWER_S)

    async def close(self) -> None:
        await self._poster.close()

    async def run(self) -> None:
        """For ever. What began while nobody could be told is told when somebody can, if it still goes on."""
        wait_s = AGAIN_S
        while True:
            try:
                if self._active():
                    await self.look()
                wait_s = AGAIN_S
                await asyncio.sleep(LOOK_S)
            except WorldError as error:
                log.warning("alerts are not told: %s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_AT_MOST_S)

    async def look(self) -> bool:
        """Tell what changed since the last time that was told; whether anything did. Raises `WorldError`."""
        now = firing(await self._store.alerts())
        begun = [one for key, one in now.items() if key not in self._told]
        ended = [one for key, one in self._told.items() if key not in now]
        if not begun and not ended:
            return False
        await self._tell(body_of(begun, ended))
        self._told = now
        return True

    async def _tell(self, body: bytes) -> None:
        moment = str(int(self._clock()))
        headers = {
            "content-type": "application/json",
            MOMENT: moment,
            SIGNATURE: signature(self._webhook.secret, moment, body),
        }
        try:
            async with asyncio.timeout(ANSWER_S):
                code = (await self._poster.post(body, headers)).status_code
        except httpx.HTTPError as error:
            raise WorldError("tell the webhook", type(error).__name__) from error
        except (OSError, UnicodeError) as error:
            raise WorldError("tell the webhook", str(error) or f"no answer within {ANSWER_S:g} s") from error
        if not 200 <= code < 300:
            raise WorldError("tell the webhook", f"it answers {code}")


def why_not(address: str) -> str:
    """Why no webhook is at this address, in words; empty where one may be."""
    found = ipaddress.ip_address(address)
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_link_local or found.is_multicast or found.is_unspecified:
        return f"at {found}, which is no address of a webhook"
    return ""
