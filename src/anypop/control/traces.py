"""Sends a trace of each deployment to collectors, once, when it is over.

In: states as they are published; receivers of the kind for traces. Out: posts, and what came of them. What was sent is
kept in the store for as long as a deployment may take, so a control that begins anew goes on; ids follow from the
deployment, so what is sent twice all the same is one trace. A collector that does not answer is tried three times, and
nothing else waits for it.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Hashable
from dataclasses import replace

from anypop.control.core import Core, of_host, of_workload
from anypop.control.log_sinks import PLATFORM, LogSinks, inside
from anypop.control.state import Declaration, State
from anypop.control.timelines import Progress, made_by_newest, progress, timeline
from anypop.model.errors import WorldError
from anypop.model.log_sinks import TRACES, LogSink, Shipped
from anypop.model.names import WorkloadId
from anypop.model.table import differing
from anypop.model.traces import ids, trace

log = logging.getLogger("anypop.control")

SETTING = "traces_sent"
LONGEST_S = 3600.0  # what takes longer is told as far as it came
AFTER_S = 10.0  # so long what serves is waited for to be told to neighbours: some of it never is
ANSWER_S = 10.0
AGAIN_S = (1.0, 10.0)
AT_ONCE = 4


class Traces:
    """Of one control. `again_s`: pauses between tries."""

    def __init__(
        self, core: Core, sinks: LogSinks, clock: Callable[[], float], *, again_s: tuple[float, ...] = AGAIN_S
    ) -> None:
        self._core, self._sinks, self._clock, self._again_s = core, sinks, clock, again_s
        self._told: dict[str, Shipped] = {}
        self._following: dict[tuple[WorkloadId, int], asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_ONCE)
        self._keeping = asyncio.Lock()
        self._begun = False
        self.after_s = AFTER_S

    def counted(self, sink: str) -> Shipped:
        """Since this control began."""
        return self._told.get(sink, Shipped(id=sink))

    def published(self, before: State, after: State) -> None:
        """Follow what was declared between the two; at the first time also what was declared not long before."""
        first, self._begun = not self._begun, True
        if not self._sinks.of_kind(TRACES):
            return
        if first:
            sent, since = self._sent(), self._clock() - LONGEST_S
            news = [d for d in after.workloads.values() if d.newest.created_at > since and sent.get(d.id) != d.version]
        else:
            changed = differing(before.workloads, after.workloads)
            news = [d for one in changed if (d := after.workloads.get(one)) is not None]
            news = [d for d in news if (was := before.workloads.get(d.id)) is None or was.version != d.version]
        for declared in news:
            key = declared.id, declared.version
            if key not in self._following:
                self._following[key] = asyncio.create_task(self._follow(*key))

    async def _follow(self, workload: WorkloadId, version: int) -> None:
        try:
            await self._to_its_end(workload, version)
        finally:
            del self._following[workload, version]

    async def _to_its_end(self, workload: WorkloadId, version: int) -> None:
        """Until it is over, or something newer takes its place."""
        end = time.monotonic() + LONGEST_S
        while not self._core.bell.closed:
            state = self._core.state
            declared = state.workloads.get(workload)
            if declared is None or declared.version != version or declared.delete_requested_at is not None:
                return
            come = progress(state, declared)
            if come is Progress.SERVES:
                end = min(end, time.monotonic() + self.after_s)
            if come is Progress.TOLD or time.monotonic() >= end:
                await self._send_all(state, declared)
                return
            await self._core.bell.wait_any(_topics(state, declared), max(0.0, end - time.monotonic()))

    async def _send_all(self, state: State, declared: Declaration) -> None:
        found = timeline(state, declared)
        own = {one.incarnation.uid for one in made_by_newest(state, declared)}
        found["instances"] = [one for one in found["instances"] if one["uid"] in own]
        if not own:
            return  # what starts nothing takes no time
        content = json.dumps(trace(found, ids(f"{declared.id}/{declared.version}"))).encode()
        sinks = [one for one in self._sinks.of_kind(TRACES) if one.stack in (PLATFORM, declared.stack_id)]
        async with self._places:
            await asyncio.gather(*(self._send(one, content) for one in sinks))
        try:
            async with self._keeping:
                await asyncio.to_thread(self._keep, declared)
        except WorldError as error:
            log.warning("that a trace was sent is not kept: %s", error)

    async def _send(self, sink: LogSink, content: bytes) -> None:
        why = ""
        for wait_s in (*self._again_s, None):
            try:
                why = await self._post(sink, content)
                break
            except OSError as error:
                why = str(error) or f"no answer within {ANSWER_S:g} s"
            self._told[sink.id] = replace(self.counted(sink.id), error=why[:300])
            if wait_s is None:
                break
            await asyncio.sleep(wait_s)
        told = self.counted(sink.id)
        self._told[sink.id] = replace(
            told, sent=told.sent + (why == ""), lost=told.lost + (why != ""), error=why[:300]
        )  # fmt: skip

    async def _post(self, sink: LogSink, content: bytes) -> str:
        """Why it was refused for good; empty: it was taken. Raises `OSError` where it is to be tried again."""
        import httpx  # noqa: PLC0415 - costs memory that only who sends traces needs

        from anypop.outgoing.address import why_not  # noqa: PLC0415
        from anypop.outgoing.posting import Poster, again_after_s  # noqa: PLC0415

        forbidden = inside(self._core.state.network)

        def refused(address: str) -> str:
            return why_not(address, forbidden) if sink.stack else ""

        try:
            poster = Poster(sink.address, sink.place[2], refused, ca=sink.ca, patience_s=ANSWER_S)
        except ValueError as error:  # a certificate that is none
            return str(error)
        headers = {"authorization": sink.authorization} if sink.authorization else {}
        try:
            async with asyncio.timeout(ANSWER_S):
                answer = await poster.post(content, headers)
        except (httpx.HTTPError, UnicodeError) as error:
            raise OSError(str(error) or type(error).__name__) from error
        finally:
            await poster.close()
        if again_after_s(answer) is not None:
            raise OSError(f"it answers {answer.status_code}")
        return "" if answer.status_code < 300 else f"it answers {answer.status_code}"

    def _sent(self) -> dict[str, int]:
        saved = self._core.store.setting(SETTING)
        return json.loads(saved) if saved else {}

    def _keep(self, declared: Declaration) -> None:
        """Of what is older nobody asks any more. Blocking."""
        state, since = self._core.state, self._clock() - LONGEST_S
        recent = {d.id: d for d in state.workloads.values() if d.newest.created_at > since}
        kept = {id_: n for id_, n in {**self._sent(), declared.id: declared.version}.items() if id_ in recent}
        self._core.store.put_setting(SETTING, json.dumps(kept))


def _topics(state: State, declared: Declaration) -> list[Hashable]:
    hosts = {one.incarnation.host for one in state.incarnations_of(declared.id).values()}
    return [of_workload(declared.id), *(of_host(host) for host in hosts)]
