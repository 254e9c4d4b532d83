"""What files hold as one set: planned together, priced together, done in one step.

In: workloads, allocations and claims of files, and workloads that go. Out: control's dry run of the whole, and what it
made of it. Control decides; here is only said which file a problem belongs to.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from anypop.cli import changes, dry_runs, kinds, views
from anypop.cli.addresses import MEMBERS, Kept
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.manifests import Manifest
from anypop.cli.screen import Shown

AHEAD = {"create": "is not there yet", "change": "is another", "nothing": "is so already"}
_NUMBERED = re.compile(r"(workloads|allocations|allocation_claims)\[([0-9]+)\]\.?")


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
class PlannedAddress:
    """An allocation or a claim of the files. `told`: what control would make of it."""

    kept: Kept
    told: views.Data

    @property
    def action(self) -> str:
        return str(self.told.get("action"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Together:
    """All of the files. `leaving`: workloads that go, as they are now; `whole`: what comes of the set as one step."""

    planned: Sequence[Planned]
    addresses: Sequence[PlannedAddress]
    leaving: Sequence[views.Data]
    whole: views.Data

    @property
    def ahead(self) -> list[Planned]:
        return [one for one in self.planned if one.action != "nothing"]

    @property
    def addresses_ahead(self) -> list[PlannedAddress]:
        return [one for one in self.addresses if one.action != "nothing"]


def planned(call: Call, everything: Sequence[Manifest], *, prune: bool) -> Together:
    """What is there beside each, and what control says of all. `prune`: workloads that are in none of the files go.
    `Failure` with all that it finds wrong.
    """
    rows = list(kinds.workloads_of(call, ""))
    there = {str(row.get("slug")): row for row in rows}
    manifests = [one for one in everything if one.kept is None]
    if taken_down := [m for m in manifests if _is_leaving(there.get(m.slug, {}))]:
        names = ", ".join(m.slug for m in taken_down)
        raise Failure(
            f"{names}: being taken down",
            advice=f"'anypop wait {taken_down[0].slug} --for gone' tells when it is gone.",
        )
    stay = {m.slug for m in manifests}
    leaving = [row for row in rows if row.get("slug") not in stay and not _is_leaving(row)] if prune else []
    files = _lists(everything)
    body = _body([m.document for m in manifests], files, leaving)
    try:
        whole = call.client.call("POST", f"{_path(call)}/plan", what="plan", body=body)
    except Failure as failure:
        raise _of_files(failure, files) from failure
    found = [
        Planned(manifest=one, current=there.get(one.slug), told=told)
        for one, told in zip(manifests, whole.get("workloads") or [], strict=True)
    ]
    addresses = [
        PlannedAddress(kept=one.kept, told=told)
        for member in MEMBERS.values()
        for one, told in zip(files[member], whole.get(member) or [], strict=True)
        if one.kept is not None
    ]
    return Together(planned=found, addresses=addresses, leaving=leaving, whole=whole)


def declared(call: Call, together: Together) -> list[views.Data]:
    """The workloads that are made or changed, all in one step with the rest of the set."""
    ahead = together.ahead
    if not (ahead or together.addresses_ahead or together.leaving):
        return []
    documents = [
        one.manifest.document if one.current is None else changes.at_version(one.manifest.document, one.current)
        for one in ahead
    ]
    wanted = {id(one.kept) for one in together.addresses_ahead}
    manifests = [one.manifest for one in ahead]
    files = _lists([*manifests, *(_manifest(one.kept) for one in together.addresses if id(one.kept) in wanted)])
    try:
        made = call.client.call("POST", _path(call), what="apply", body=_body(documents, files, together.leaving))
    except Failure as failure:
        raise _of_files(failure, files) from failure
    return [dict(row.get("workload") or {}) for row in made.get("results") or []]


def _manifest(kept: Kept) -> Manifest:
    return Manifest(where=kept.where, slug=kept.slug, document=kept.document, kept=kept)


def _lists(everything: Sequence[Manifest]) -> dict[str, list[Manifest]]:
    """By the member of the request that each stands in."""
    found: dict[str, list[Manifest]] = {"workloads": [], **{member: [] for member in MEMBERS.values()}}
    for one in everything:
        found["workloads" if one.kept is None else MEMBERS[one.kept.member]].append(one)
    return found


def _body(
    documents: Sequence[views.Data], files: Mapping[str, Sequence[Manifest]], leaving: Sequence[views.Data]
) -> views.Data:
    """Those that go by their ids: whoever has got a name since then is not meant."""
    addresses = {
        member: [one.kept.wish for one in files[member] if one.kept is not None] for member in MEMBERS.values()
    }
    body = {"workloads": list(documents), **addresses, "delete": [str(row.get("id")) for row in leaving]}
    return {member: rows for member, rows in body.items() if rows}


def _is_leaving(row: views.Data) -> bool:
    return bool((row.get("metadata") or {}).get("deleteRequestedAt"))


def differences(together: Together) -> Iterator[Shown]:
    """Each of the set, and the whole where there are several."""
    for kept in together.addresses:
        yield [(f"{kept.kept.name}: ", "bold"), (AHEAD[kept.action], "")]
        if kept.told.get("waits"):
            yield [(f"note: it waits for an address: {kept.told['waits']}", "yellow")]
        if kept.told.get("idle_monthly"):
            currency = (together.whole.get("price") or {}).get("currency")
            yield f"price: {kept.told['idle_monthly']:.2f} {currency} a month while no instance has it"
    for one in together.planned:
        yield [(f"{one.slug}: ", "bold"), (AHEAD[one.action], "")]
        yield from one.manifest.notes
        if one.action != "nothing":
            yield from dry_runs.of_one(one.told)
    yield from dry_runs.beyond(together.whole)
    if len(together.ahead) + len(together.leaving) > 1:
        yield _total(together)


def _total(together: Together) -> Shown:
    rows = [*(one.told for one in together.ahead), *(together.whole.get("deleted") or [])]
    counts = [(verb, sum(len(row.get(key) or []) for row in rows)) for key, verb in _VERBS]
    price = together.whole.get("price") or {}
    words = ", ".join(f"{count} {verb}" for verb, count in counts if count) or "no instance touched"
    most = f", at most {price['most_after']:.2f}" if price.get("most_after") else ""
    months = f"{price.get('before', 0):.2f} {price.get('currency')} a month now, {price.get('after', 0):.2f} then{most}"
    return [("together: ", "bold"), (f"instances: {words}; price: {months}", "")]


_VERBS = (("created", "created"), ("replaced", "made anew"), ("deleted", "deleted"))


def _path(call: Call) -> str:
    return f"{call.stack_path('anypop')}/apply"


def _of_files(failure: Failure, files: Mapping[str, Sequence[Manifest]]) -> Failure:
    """With the file in place of a number."""
    if failure.code not in (Exit.USAGE, Exit.FAILED):
        return failure

    def placed(text: str) -> str:
        number = _NUMBERED.match(text)
        manifests = files[number[1]] if number is not None else ()
        if number is None or int(number[2]) >= len(manifests):
            return text
        return f"{manifests[int(number[2])].where}: {text[number.end() :].removeprefix(': ')}"

    if not failure.problems:
        what, colon, text = failure.message.partition(": ")
        text = placed(text) if colon else what
        return Failure(text, code=failure.code, advice=failure.advice or "Nothing was changed.")
    problems = [placed(text) for text in failure.problems]
    if failure.code is Exit.USAGE:
        return usage(f"{len(problems)} problems", problems=problems, advice="Nothing was changed.")
    return Failure(failure.message, code=failure.code, problems=problems, advice=failure.advice)
