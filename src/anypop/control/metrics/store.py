"""The store of metrics: whatever answers Prometheus's HTTP API, and takes samples by remote write.

In: expressions that `charts` and `filling` made, series. Out: curves, samples, alerts; or `WorldError` where the store
does not answer, says no, or answers something else. It is asked over loopback, or with a password; its words are kept
out of answers to tenants. Its client library is imported with this module, by those alone who have a store.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import httpx

from anypop.control.metrics.resampling import Curve
from anypop.control.metrics.settings import StoreSettings
from anypop.model.errors import WorldError

ANSWER_S = 10.0
MOST_BYTES = 64 << 20  # of one answer
WHAT = "ask the store of metrics"


class MetricsStore:
    """Of one control. `interval`: how often it scrapes, in seconds; `window`: how old samples may be that it takes."""

    def __init__(self, settings: StoreSettings, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.interval, self.window = settings.interval, settings.window
        self._client = httpx.AsyncClient(
            base_url=settings.url,
            auth=(settings.user, settings.password) if settings.user else None,
            timeout=ANSWER_S,
            follow_redirects=False,
            trust_env=False,
            transport=transport,
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def curves(self, promql: str, *, since: float, until: float, step: float) -> list[Curve]:
        """The values of an expression over time. Raises `WorldError`."""
        found = await self._asked(
            "/api/v1/query_range",
            {"query": promql, "start": f"{since:.3f}", "end": f"{until:.3f}", "step": f"{step:g}"},
        )
        return [_curve(one) for one in _results(found, "matrix")]

    async def samples(self, selector: str, *, until: float, span_s: float) -> list[Curve]:
        """The samples themselves of the time before `until`. Raises `WorldError`."""
        found = await self._asked("/api/v1/query", {"query": f"{selector}[{round(span_s)}s]", "time": f"{until:.3f}"})
        return [_curve(one) for one in _results(found, "matrix")]

    async def values(self, promql: str, *, at: float | None = None) -> list[tuple[Mapping[str, str], float]]:
        """Of an expression at one moment (None: now). Raises `WorldError`."""
        more = {} if at is None else {"time": f"{at:.3f}"}
        found = await self._asked("/api/v1/query", {"query": promql, **more})
        return [(one["metric"], float(one["value"][1])) for one in _results(found, "vector")]

    async def alerts(self) -> list[Mapping[str, Any]]:
        """What its rules tell now. Raises `WorldError`; of a store without rules there are none."""
        found = await self._asked("/api/v1/alerts", {})
        return list(found.get("alerts") or ())

    async def write(self, series: Iterable[Any]) -> None:
        """Put samples of the past in. What is there already stays as it is. Raises `WorldError`."""
        from anypop.control.metrics import remote_write  # noqa: PLC0415 - its libraries are for who fills alone

        answer = await self._sent(
            "POST", "/api/v1/write", content=remote_write.body_of(series), headers=remote_write.HEADERS
        )
        if answer.status_code not in (200, 204):
            raise WorldError("write to the store of metrics", f"it answers {answer.status_code}: {answer.text[:200]}")

    async def _asked(self, path: str, query: Mapping[str, str]) -> Mapping[str, Any]:
        answer = await self._sent("POST" if query else "GET", path, data=query or None)
        try:
            found = answer.json()
            if answer.status_code != 200 or found["status"] != "success":
                raise WorldError(WHAT, f"it answers {answer.status_code}: {str(found.get('error', ''))[:200]}")
            data: Mapping[str, Any] = found["data"]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise WorldError(WHAT, f"it answers {answer.status_code}, and not as Prometheus does") from error
        return data

    async def _sent(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            async with self._client.stream(method, path, **request) as answer:
                parts: list[bytes] = []
                size = 0
                async for part in answer.aiter_bytes():
                    size += len(part)
                    if size > MOST_BYTES:
                        raise WorldError(WHAT, f"its answer has more than {MOST_BYTES} bytes")
                    parts.append(part)
                return httpx.Response(answer.status_code, content=b"".join(parts))
        except httpx.HTTPError as error:
            raise WorldError(WHAT, str(error) or type(error).__name__) from error


def _results(data: Mapping[str, Any], kind: str) -> Sequence[Mapping[str, Any]]:
    if data.get("resultType") != kind:
        raise WorldError(WHAT, f"it answers a {data.get('resultType')}, not a {kind}")
    return data.get("result") or ()


def _curve(one: Mapping[str, Any]) -> Curve:
    points = ((float(at), float(value)) for at, value in one["values"])
    return Curve(labels=one["metric"], points=tuple((at, value) for at, value in points if math.isfinite(value)))
