"""The workloads of files as one set: planned together, priced together, declared in one step.

In: workloads of files. Out: control's dry run of the whole, and what it made of it. Control decides; here is only said
which file a problem belongs to.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anypop.cli import changes, dry_runs, kinds, views
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.manifests import Manifest
from anypop.cli.screen import Shown

AHEAD = {"create": "is not there yet", "change": "is another", "nothing": "is so already"}
_NUMBERED = re.compile(r"workloads\[([0-9]+)\]\.?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One workload of the files beside what is there. `told`: what control would make of it."""

    manifest: Manifest
    current: views.Data | None
    told: views.Data

    @property
    def action(self) -> str:
        return str(self.told.get("action"))

    @property
    def slug(self) -> str:
        return str((self.current or {}).get("slug") or self.manifest.slug)


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """All workloads of the files. `whole`: what comes of the set as one step."""

    planned: Sequence[Planned]
    whole: views.Data

    @property
    def ahead(self) -> list[Planned]:
        return [one for one in self.planned if one.action != "nothing"]


def planned(call: Call, manifests: Sequence[Manifest]) -> Together:
    """What is there beside each, and what control says of all. `Failure` with all that it finds wrong."""
    if not manifests:
        return Together(planned=(), whole={})
    there = {str(row.get("slug")): row for row in kinds.workloads_of(call, "")}
    if leaving := [m for m in manifests if (there.get(m.slug, {}).get("metadata") or {}).get("deleteRequestedAt")]:
        names = ", ".join(m.slug for m in leaving)
        raise Failure(
            f"{names}: being taken down",
            advice=f"'anypop wait {leaving[0].slug} --for gone' tells when it is gone.",
        )
    body = {"workloads": [one.document for one in manifests]}
    try:
        whole = call.client.call("POST", f"{_path(call)}/plan", what="plan", body=body)
    except Failure as failure:
        raise _of_files(failure, manifests) from failure
    rows = whole.get("workloads") or []
    found = [
        Planned(manifest=one, current=there.get(one.slug), told=told) for one, told in zip(manifests, rows, strict=True)
    ]
    return Together(planned=found, whole=whole)


def declared(call: Call, together: Together) -> list[views.Data]:
    """The workloads that are made or changed, all in one step."""
    ahead = together.ahead
    if not ahead:
        return []
    documents = [
        one.manifest.document if one.current is None else changes.at_version(one.manifest.document, one.current)
        for one in ahead
    ]
    try:
        made = call.client.call("POST", _path(call), what="apply", body={"workloads": documents})
    except Failure as failure:
        raise _of_files(failure, [one.manifest for one in ahead]) from failure
    return [dict(row.get("workload") or {}) for row in made.get("results") or []]


def differences(together: Together) -> Iterator[Shown]:
    """Each workload, and the whole where there are several."""
    for one in together.planned:
        yield [(f"{one.slug}: ", "bold"), (AHEAD[one.action], "")]
        yield from one.manifest.notes
        if one.action != "nothing":
            yield from dry_runs.of_one(one.told)
    yield from dry_runs.beyond(together.whole)
    if len(together.ahead) > 1:
        yield _total(together)


def _total(together: Together) -> Shown:
    rows = [one.told for one in together.ahead]
    counts = [(verb, sum(len(row.get(key) or []) for row in rows)) for key, verb in _VERBS]
    price = together.whole.get("price") or {}
    words = ", ".join(f"{count} {verb}" for verb, count in counts if count) or "no instance touched"
    most = f", at most {price['most_after']:.2f}" if price.get("most_after") else ""
    months = f"{price.get('before', 0):.2f} {price.get('currency')} a month now, {price.get('after', 0):.2f} then{most}"
    return [("together: ", "bold"), (f"instances: {words}; price: {months}", "")]


_VERBS = (("created", "created"), ("replaced", "made anew"), ("deleted", "deleted"))


def _path(call: Call) -> str:
    return f"{call.stack_path('anypop')}/apply"


def _of_files(failure: Failure, manifests: Sequence[Manifest]) -> Failure:
    """With the file in place of a workload's number."""
    if failure.code not in (Exit.USAGE, Exit.FAILED):
        return failure

    def placed(text: str) -> str:
        number = _NUMBERED.match(text)
        if number is None or int(number[1]) >= len(manifests):
            return text
        return f"{manifests[int(number[1])].where}: {text[number.end() :].removeprefix(': ')}"

    if not failure.problems:
        what, colon, text = failure.message.partition(": ")
        text = placed(text) if colon else what
        return Failure(text, code=failure.code, advice=failure.advice or "Nothing was changed.")
    problems = [placed(text) for text in failure.problems]
    if failure.code is Exit.USAGE:
        return usage(f"{len(problems)} problems", problems=problems, advice="Nothing was changed.")
    return Failure(failure.message, code=failure.code, problems=problems, advice=failure.advice)
