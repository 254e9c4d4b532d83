"""How a command ends badly: one clear message, what to do next, and an exit code.

Every command raises `Failure` (or lets `Invalid` and `WorldError` of the model through); `main` prints it on standard
error and exits. Nothing here prints or talks to the network.

Exit codes are part of the interface (docs/cli.md):
0 done, 1 it failed or was declined, 2 wrong input, 3 control is not reachable, 4 not allowed, 5 no such thing, 6 not in
time, 130 interrupted.
"""

from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import Any


class Exit(IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    DENIED = 4
    NOT_FOUND = 5
    TIMEOUT = 6
    INTERRUPTED = 130  # 128 + SIGINT, as shells count


class Failure(Exception):  # noqa: N818 - it reads as a verdict where it is raised
    """`message` is one line; `problems` follow as a list, `advice` as the last line ("what to do next")."""

    def __init__(
        self, message: str, *, code: Exit = Exit.FAILED, problems: Iterable[str] = (), advice: str = ""
    ) -> None:
        self.message = message
        self.code = code
        self.problems = tuple(problems)
        self.advice = advice
        super().__init__(message)

    def lines(self) -> list[str]:
        """The text for standard error, without colour."""
        return [
            f"anypop: {self.message}",
            *(f"  - {problem}" for problem in self.problems),
            *([f"  {self.advice}"] if self.advice else []),
        ]


class CutOff(Failure):
    """What was being read or done has ended before its end, and nobody said why."""


def usage(message: str, *, problems: Iterable[str] = (), advice: str = "") -> Failure:
    """The command line or a file of the user's is wrong."""
    return Failure(message, code=Exit.USAGE, problems=problems, advice=advice)


_FAILED_PRECONDITION = 9  # google.rpc.Code: HTTP 400 too, but the input is right and what is there does not allow it

_BY_STATUS: dict[int, tuple[Exit, str]] = {
    400: (Exit.USAGE, ""),
    401: (Exit.DENIED, "Check ANYPOP_CLIENT_ID and ANYPOP_CLIENT_SECRET, or the client.json of --state."),
    403: (Exit.DENIED, "'anypop user whoami' says who you are here, and with which role."),
    404: (Exit.NOT_FOUND, ""),
    408: (Exit.TIMEOUT, "Try again."),
    409: (Exit.FAILED, ""),
    429: (Exit.FAILED, "Wait a moment and try again."),
    501: (Exit.FAILED, "This control process does not offer it."),
    503: (Exit.FAILED, ""),  # in its own shape: control works, something that it needs does not
    504: (Exit.TIMEOUT, "Try again."),
}


def refused(status: int, body: object, *, what: str) -> Failure:
    """A Failure from an answer in the shape of google.rpc.Status: `{"code","message","details":[...]}`.

    All field violations become problems; a Help link, a LocalizedMessage and a RetryInfo become advice. Any other body
    (a proxy's page) gives the status alone.
    """
    code, advice = _BY_STATUS.get(
        status, (Exit.FAILED, "This is a fault of control: see its log." if status >= 500 else "")
    )
    if not isinstance(body, Mapping) or "message" not in body:
        if status in (502, 503):
            return Failure(
                f"{what}: control is not up behind its address (HTTP {status})",
                code=Exit.UNREACHABLE,
                advice="Try again in a moment.",
            )
        return Failure(
            f"{what}: control answered HTTP {status} in a form that is not its own",
            code=code,
            advice=advice or _NOT_OURS,
        )
    if body.get("code") == _FAILED_PRECONDITION:
        code = Exit.FAILED
    problems: list[str] = []
    request_id = ""
    for detail in body.get("details") or []:
        if not isinstance(detail, Mapping):
            continue
        match str(detail.get("@type", "")).rpartition(".")[2]:
            case "BadRequest":
                problems += [_violation(v) for v in detail.get("fieldViolations") or []]
            case "PreconditionFailure":
                problems += [
                    str(v.get("description") or v.get("subject") or v.get("type"))
                    for v in detail.get("violations") or []
                ]
            case "QuotaFailure":
                problems += [str(v.get("description") or v.get("subject")) for v in detail.get("violations") or []]
            case "Help":
                advice = "; ".join(
                    f"{link.get('description', '')} {link.get('url', '')}".strip() for link in detail.get("links") or []
                )
            case "LocalizedMessage":
                advice = str(detail.get("message") or advice)
            case "RetryInfo":
                advice = f"Try again in {detail.get('retryDelay', 'a moment')}."
            case "RequestInfo":
                request_id = str(detail.get("requestId") or "")
            case _:
                pass
    if status >= 500 and request_id:
        advice = f"{advice} Request {request_id}.".strip()
    message = str(body["message"])
    advice = advice or next((words for begin, words in _WHAT_NEXT.items() if message.startswith(begin)), "")
    if problems and message.startswith(problems[0]):  # the message is the first of them: say each once
        message, problems = (problems[0], []) if len(problems) == 1 else (f"{len(problems)} problems", problems)
    return Failure(f"{what}: {message}", code=code, problems=problems, advice=advice)


# By how control's message begins: what a person does next.
_WHAT_NEXT = {
    "no workload": "'anypop workload list' lists them.",
    "workload with slug": "Choose another name, or take that one away: 'anypop workload delete NAME'.",
    "no stack": "Name one with --stack, or ANYPOP_STACK.",
    "no vantage or router": "'anypop vantages' and 'anypop lab status -o json' list them.",
    "no vantage ": "'anypop vantages' lists them.",
}

_NOT_OURS = "Is ANYPOP_URL the address of a control process, and not of a proxy before it?"


def _violation(violation: Mapping[str, Any]) -> str:
    field, text = str(violation.get("field") or ""), str(violation.get("description") or "is wrong")
    return f"{field}: {text}" if field else text
