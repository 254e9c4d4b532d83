"""Results of RIPE Atlas, as its API gives them: JSON in, observations out. Pure.

DNS (a CHAOS answer such as `id.server`, as text or in the packet, or the name server's NSID), HTTP (headers) and
traceroute (addresses of hops), in all versions of the format (atlas.ripe.net/docs/apis/measurement-result-format).
`identify` says which PoP an answer, a header or a hop means. A result without an answer is no error: it saw nothing.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from anypop.model.errors import Invalid, Problem
from anypop.routing.catchment.observations import Observation, Told, moment

_MOST = 50
_TXT, _OPT, _NSID = 16, 41, 3  # RFC 1035 section 3.2.2; RFC 6891; RFC 5001
# Their words are days and months, and some of these are codes of airports (SAT, SUN, MAR).
_KINDS = ("dns", "http", "traceroute")
_DATES = ("date:", "expires:", "last-modified:")


def read(
    text: str,
    file: str,
    *,
    identify: Callable[[str], str | None],
    asn_of_probe: Callable[[int], int | None] = lambda _: None,
    asn_of_address: Callable[[str], int | None] = lambda _: None,
) -> Told:
    """A JSON list, or one result per line. `asn_of_address`: asked with a probe's public address where the probe's
    network is not known. Raises `Invalid` for what is no result.
    """
    problems: list[Problem] = []
    found: list[Observation] = []
    unclear: Counter[str] = Counter()
    others: Counter[str] = Counter()
    silent = 0
    for where, result in _results(text, file, problems):
        if not isinstance(result, dict) or not isinstance(result.get("prb_id"), int):
            problems.append(Problem(path=where, message=_no_result(result)))
            continue
        answers = list(_answers(result))
        pop = next((city for answer in answers if (city := identify(answer)) is not None), None)
        if pop is None:
            unclear.update(answers[:1])
            silent += not answers and result.get("type") in _KINDS
            others.update([str(result.get("type"))[:40]] if result.get("type") not in _KINDS else ())
            continue
        probe, time = result["prb_id"], result.get("timestamp", 0)
        found.append(
            Observation(
                asn=asn_of_probe(probe) or asn_of_address(str(result.get("from", ""))) or 0,
                pop=pop,
                vantage=f"atlas {probe}",
                at=(moment(float(time)) or 0.0) if isinstance(time, int | float) else 0.0,
            )
        )
    if problems:
        raise Invalid(problems[:_MOST])
    return Told(observations=tuple(found), notes=tuple(_notes(unclear, others, silent)))


def _no_result(result: object) -> str:
    """In words; what the API of Atlas answers in place of results says itself what is wrong."""
    error = result.get("error") if isinstance(result, dict) else None
    if isinstance(error, dict) and isinstance(error.get("detail"), str):
        return f"holds no results, but an error of the API: {error['detail'][:200]}"
    return "is no Atlas result: it has no prb_id"


def _notes(unclear: Counter[str], others: Counter[str], silent: int) -> Iterator[str]:
    if unclear:
        common = ", ".join(f"'{text[:40]}' ({number})" for text, number in unclear.most_common(3))
        yield f"{unclear.total():,} answers name no PoP: {common}; --map TEXT=POP says what one means"
    if silent:
        yield f"{silent:,} results hold no answer"
    for kind, number in others.items():
        yield f"{number:,} results are of '{kind}', which tells nobody's name: dns, http and traceroute do"


def _results(text: str, file: str, problems: list[Problem]) -> Iterable[tuple[str, Any]]:
    try:
        whole = json.loads(text)
    except json.JSONDecodeError as error:
        if text.lstrip().startswith("["):
            problems.append(Problem(path=f"{file}:{error.lineno}", message=f"is not JSON: {error.msg}"))
            return
    else:
        rows = whole if isinstance(whole, list) else [whole]
        yield from ((f"{file}[{i}]", row) for i, row in enumerate(rows))
        return
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                yield f"{file}:{number}", json.loads(line)
            except json.JSONDecodeError as error:
                problems.append(Problem(path=f"{file}:{number}", message=f"is not JSON: {error.msg}"))


def _answers(result: Mapping[str, Any]) -> Iterable[str]:
    """What a result tells about who answered, the most telling first."""
    kind = result.get("type")
    if kind == "dns":
        for reply in [result.get("result"), *(_list(result.get("resultset")))]:
            body = reply.get("result", reply) if isinstance(reply, dict) else {}
            body = body if isinstance(body, dict) else {}
            for answer in _list(body.get("answers")):
                data = answer.get("RDATA") if isinstance(answer, dict) else None
                yield from (str(part) for part in (data if isinstance(data, list) else [data] if data else []))
            yield from _names(body.get("abuf"))
    elif kind == "http":
        for reply in _list(result.get("result")):
            if isinstance(reply, dict):
                headers = (str(header) for header in _list(reply.get("header")))
                yield from (header for header in headers if not header.lower().startswith(_DATES))
    elif kind == "traceroute":
        for hop in reversed(_list(result.get("result"))):
            for reply in _list(hop.get("result")) if isinstance(hop, dict) else []:
                if isinstance(reply, dict) and "from" in reply:
                    yield str(reply["from"])


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _names(abuf: object) -> Iterable[str]:
    """TXT strings and NSID of a DNS message (RFC 1035 section 4) in base64. A message that is cut short tells what it
    still holds.
    """
    if not isinstance(abuf, str):
        return
    try:
        message = base64.b64decode(abuf, validate=True)
    except (binascii.Error, ValueError):
        return
    if len(message) < 12:
        return
    counts = [int.from_bytes(message[at : at + 2]) for at in range(4, 12, 2)]
    at = 12
    for _ in range(counts[0]):
        at = _after_name(message, at) + 4
    for _ in range(sum(counts[1:])):
        at = _after_name(message, at)
        if at + 10 > len(message):
            return
        kind, length = int.from_bytes(message[at : at + 2]), int.from_bytes(message[at + 8 : at + 10])
        data = message[at + 10 : at + 10 + length]
        at += 10 + length
        if kind == _TXT and data:  # strings, each with its length before it
            yield data[1 : 1 + data[0]].decode("ascii", errors="replace")
        elif kind == _OPT:
            yield from _nsid(data)


def _nsid(options: bytes) -> Iterable[str]:
    at = 0
    while at + 4 <= len(options):
        code, length = int.from_bytes(options[at : at + 2]), int.from_bytes(options[at + 2 : at + 4])
        if code == _NSID:
            yield options[at + 4 : at + 4 + length].decode("ascii", errors="replace")
        at += 4 + length


def _after_name(message: bytes, at: int) -> int:
    while at < len(message):
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:  # a pointer of two bytes ends the name
            return at + 2
        at += 1 + length
    return at
