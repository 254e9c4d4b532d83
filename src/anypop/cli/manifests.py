"""What `-f` names: files, directories, standard input; each with one document or several.

In: paths as typed. Out: workloads, each with the place it comes from. Whether one is right is control's to say; here
only what is no workload at all, or stands twice, is refused, all at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anypop.cli.addresses import Kept, of_document
from anypop.cli.compose import Wishes, is_compose, workloads_of
from anypop.cli.declaration import documents_of, named, unwrapped
from anypop.cli.failure import Failure, usage
from anypop.model.names import slug_of

SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`where`: the file, and which of its documents. `notes`: what of it is done another way than written. `kept`: it
    is no workload, but an allocation or a claim.
    """

    where: str
    slug: str
    document: dict[str, Any]
    notes: tuple[str, ...] = ()
    kept: Kept | None = None


def read(paths: Sequence[Path], wishes: Wishes) -> list[Manifest]:
    """All workloads in all of them, in the order of the files. `Failure` with everything that is wrong."""
    if not paths:
        raise usage("--file is required", advice="-f FILE, -f DIRECTORY, or -f - for standard input; repeatable.")
    found: list[Manifest] = []
    problems: list[str] = []
    for path in [file for given in paths for file in _files(given)]:
        try:
            documents = documents_of(path)
            for number, document in enumerate(documents, 1):
                where = named(path) + (f" (document {number})" if len(documents) > 1 else "")
                found += _manifests(path, where, document, wishes)
        except Failure as failure:
            problems += failure.problems or [failure.message]
    first: dict[str, str] = {}
    for one in found:
        name = one.kept.name if one.kept is not None else one.slug
        if first.setdefault(name, one.where) != one.where:
            problems.append(f"{one.where}: {name} stands in {first[name]}, too")
    if not found and not problems:
        problems.append(f"{', '.join(map(named, paths))}: no workload in it")
    if problems:
        raise usage(
            problems[0] if len(problems) == 1 else f"{len(problems)} problems",
            problems=problems[: len(problems) if len(problems) > 1 else 0],
            advice="Nothing was changed.",
        )
    return found


def _files(path: Path) -> list[Path]:
    if str(path) == "-" or not path.is_dir():
        return [path]
    return sorted(file for file in path.iterdir() if file.suffix in SUFFIXES and not file.name.startswith("."))


def _manifests(path: Path, where: str, document: Any, wishes: Wishes) -> Iterator[Manifest]:
    if is_compose(document):
        folder = Path() if str(path) == "-" else path.parent
        for slug, made, notes in workloads_of(document, where=where, folder=folder, wishes=wishes):
            yield Manifest(where=f"{where}: {slug}", slug=slug, document=made, notes=notes)
        return
    several = document if isinstance(document, list) else [document]
    for found in several:
        if isinstance(found, dict) and "networkPolicy" in found:
            raise usage(f"{where}: is a network policy, which 'anypop policy apply -f' takes")
        if (kept := of_document(found, where)) is not None:
            yield Manifest(where=where, slug=kept.slug, document=kept.document, kept=kept)
            continue
        workload = unwrapped(found, where)
        slug = str(workload.get("slug") or slug_of(str(workload.get("name") or "")))
        if not slug:
            raise usage(f"{where}: the workload has neither a name nor a slug")
        # of what was read from control its own members: they belong to the one that was read
        own = {key: value for key, value in workload.items() if key not in _OF_CONTROL}
        yield Manifest(
            where=where if len(several) == 1 else f"{where}: {slug}", slug=slug, document=own | {"slug": slug}
        )


_OF_CONTROL = ("id", "stackId", "status", "warnings")
