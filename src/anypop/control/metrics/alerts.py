"""Tells a webhook of the operator which alerts begin and end, without an Alertmanager.

In: what the store's rules say, asked every few seconds. Out: one signed request for each change, repeated until it is
taken. A store that has just started knows of no alert until its first round, and then of all as new ones: an alert ends
when none is told for longer than that, and while its cause lasts it goes on.
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
from datetime import UTC, datetime
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
MOST_ALERTS = 1000  # told in one request
ROUNDS = 2  # of the store's rules, in which an alert that is over is not told
NEVER = "0001-01-01T00:00:00Z"
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


def alert_of(one: Mapping[str, Any]) -> Alert:
    return Alert(
        labels={str(k): str(v) for k, v in (one.get("labels") or {}).items()},
        annotations={str(k): str(v) for k, v in (one.get("annotations") or {}).items()},
        since=str(one.get("activeAt", "")),
    )


def body_of(begun: Sequence[Alert], ended: Sequence[Alert], now: float) -> bytes:
    """As an Alertmanager's webhook has it (version 4), with all of its fields, so that what reads those reads these:
    https://prometheus.io/docs/alerting/latest/configuration/ (webhook_config).
    """
    over = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
    alerts = [
        {
            "status": status, "labels": dict(one.labels), "annotations": dict(one.annotations), "startsAt": one.since,
            "endsAt": ends, "generatorURL": "", "fingerprint": hashlib.sha256(repr(one.key).encode()).hexdigest()[:16],
        }
        for status, ends, some in (("firing", NEVER, begun), ("resolved", over, ended))
        for one in some
    ]  # fmt: skip
    every = [*begun, *ended]
    return json.dumps(
        {
            "version": "4", "groupKey": "{}:{}", "truncatedAlerts": 0, "receiver": "anypop",
            "status": "firing" if begun else "resolved", "groupLabels": {},
            "commonLabels": _common([one.labels for one in every]),
            "commonAnnotations": _common([one.annotations for one in every]), "externalURL": "", "alerts": alerts,
        }
    ).encode()  # fmt: skip


def _common(many: Sequence[Mapping[str, str]]) -> dict[str, str]:
    return dict(set(many[0].items()).intersection(*(one.items() for one in many[1:]))) if many else {}


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
        self._last_at: dict[Key, float] = {}  # when the store knew of it
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
                while self._active() and await self.look():
                    pass
                wait_s = AGAIN_S
                await asyncio.sleep(LOOK_S)
            except WorldError as error:
                log.warning("alerts are not told: %s", error)
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, AGAIN_AT_MOST_S)

    async def look(self) -> bool:
        """Tell what changed since the last time that was told; whether anything did. Raises `WorldError`."""
        there = await self._store.alerts()
        now, known = self._clock(), {alert_of(one).key for one in there}
        fires = {one.key: one for one in map(alert_of, (t for t in there if t.get("state") == "firing"))}
        self._last_at = {key: now if key in known else self._last_at.get(key, now) for key in {*self._told, *fires}}
        begun = [fires[key] for key in sorted(fires.keys() - self._told.keys())][:MOST_ALERTS]
        gone = (key for key in sorted(self._told) if now - self._last_at[key] > ROUNDS * self._store.interval)
        ended = [self._told[key] for key in gone][: MOST_ALERTS - len(begun)]
        if not begun and not ended:
            return False
        await self._tell(body_of(begun, ended, now))
        self._told |= {one.key: one for one in begun}
        for one in ended:
            del self._told[one.key]
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
