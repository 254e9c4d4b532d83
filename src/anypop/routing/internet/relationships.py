"""Files of AS relationships: bytes in, checked link arrays out. First stage of the model of the Internet.

Reads CAIDA's serial-1 (`a|b|-1`: a is provider of b; `a|b|0`: peers) and serial-2 (a fourth column names the source),
plain, gzip or bzip2, and our own CSV (`asn_a,asn_b,relation[,note]`, with relation `provider` (a provides for b),
`customer`, `peer`, `sibling`; in an override file also `none`). Every wrong row is reported with its line. The caller
reads the file: nothing here does I/O.
"""

import bz2
import gzip
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from anypop.model.errors import Invalid, Problem

Ints = npt.NDArray[np.int64]
_MOST = 50  # problems told one by one; a wrong file has as many as it has rows
_MAX_ASN = 0xFFFFFFFF


class Link(IntEnum):
    """What `a` is to `b`. The two values of CAIDA's files, and two of our own."""

    PROVIDER = -1
    PEER = 0
    SIBLING = 2
    NONE = 9


_WORDS = {"provider": Link.PROVIDER, "peer": Link.PEER, "sibling": Link.SIBLING, "none": Link.NONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationships:
    """Links between ASes, each once: row i says that `a[i]` is `kind[i]` (a `Link`) to `b[i]`. `line`: where it stood
    in `file`, or in `over_file` where it is negative.
    """

    a: Ints
    b: Ints
    kind: Ints
    line: Ints
    file: str
    over_file: str = ""

    def __len__(self) -> int:
        return len(self.a)

    def pairs(self) -> Ints:
        """One number per link, the same in both directions."""
        return (np.minimum(self.a, self.b) << 32) | np.maximum(self.a, self.b)


def read_relationships(data: bytes, file: str, *, overrides: bool = False) -> Relationships:
    """The links in a file's bytes. `overrides` allows the relation `none`. Raises `Invalid` with every problem (the
    first fifty in full).
    """
    text = _inflate(data, file)
    found = _quick(text, file)
    if found is None:
        found = _careful(text, file, overrides)
    if len(found) == 0 and not overrides:
        raise Invalid.one(file, "holds no relationship at all")
    if problems := _contradictions(found):
        raise Invalid(_shortened(problems, file))
    return _once(found)


def apply_overrides(base: Relationships, over: Relationships) -> Relationships:
    """`base` with each link that `over` names replaced, added or (`none`) removed. An AS or a removed link that
    `base` lacks is a problem.
    """
    known = np.unique(np.concatenate([base.a, base.b]))
    in_base = np.isin(over.pairs(), base.pairs())
    problems = []
    for i in range(len(over)):
        where = f"{over.file}:{over.line[i]}"
        for asn in (int(over.a[i]), int(over.b[i])):
            if not _contains(known, asn):
                problems.append(Problem(path=where, message=f"AS{asn} is in no link of {base.file}"))
        if over.kind[i] == Link.NONE and not in_base[i]:
            problems.append(
                Problem(path=where, message=f"there is no link between AS{over.a[i]} and AS{over.b[i]} to remove")
            )
    if problems:
        raise Invalid(_shortened(problems, over.file))
    kept = ~np.isin(base.pairs(), over.pairs())
    added = over.kind != Link.NONE
    return Relationships(
        a=np.concatenate([base.a[kept], over.a[added]]),
        b=np.concatenate([base.b[kept], over.b[added]]),
        kind=np.concatenate([base.kind[kept], over.kind[added]]),
        line=np.concatenate([base.line[kept], -over.line[added]]),
        file=base.file,
        over_file=over.file,
    )


def provider_loops(links: Relationships) -> tuple[Problem, ...]:
    """Loops of customer-provider links: one problem for each group of ASes that are, in a circle, their own
    providers.

    Such a graph still propagates; whoever loads it decides whether to refuse it.
    """
    down = links.kind == Link.PROVIDER
    provider, customer, line = links.a[down], links.b[down], links.line[down]
    # Peel off ASes without providers, then those without customers; what stays lies on or between loops.
    while len(provider):
        stays = np.isin(provider, customer) & np.isin(customer, provider)
        if stays.all():
            break
        provider, customer, line = provider[stays], customer[stays], line[stays]
    problems = []
    todo = set(zip(provider.tolist(), customer.tolist(), line.tolist(), strict=True))
    while todo:
        members = _reached(todo)
        rows = [row for row in todo if row[0] in members and row[1] in members]
        todo -= set(rows)
        # A row of the overrides first: it is what the user wrote, and what closed the loop if nothing else did.
        own = sorted(-row[2] for row in rows if row[2] < 0)
        told = sorted(row[2] for row in rows if row[2] > 0)
        where = [
            f"line{'s' if len(found) > 1 else ''} {', '.join(map(str, found[:8]))}" for found in (own, told) if found
        ]
        if own and told:
            where[1] += f" of {links.file}"
        names = ", ".join(f"AS{asn}" for asn in sorted(members)[:8])
        problems.append(
            Problem(
                path=f"{links.over_file}:{own[0]}" if own else f"{links.file}:{told[0]}",
                message=f"{names} are their own providers in a loop ({' and '.join(where)})",
            )
        )
    return tuple(problems)


def _reached(rows: set[tuple[int, int, int]]) -> set[int]:
    """The ASes connected, in whatever direction, to those of one row."""
    near: dict[int, set[int]] = {}
    for a, b, _ in rows:
        near.setdefault(a, set()).add(b)
        near.setdefault(b, set()).add(a)
    frontier = [next(iter(rows))[0]]
    seen = set(frontier)
    while frontier:
        for asn in near[frontier.pop()] - seen:
            seen.add(asn)
            frontier.append(asn)
    return seen


def _inflate(data: bytes, file: str) -> bytes:
    try:
        if data[:2] == b"\x1f\x8b":
            return gzip.decompress(data)
        if data[:3] == b"BZh":
            return bz2.decompress(data)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise Invalid.one(file, f"cannot be unpacked: {error}") from error
    return data


def _quick(text: bytes, file: str) -> Relationships | None:
    """A clean serial-1 file in one go (380,000 rows in 0.2 s); None when there is anything else in it."""
    rows = [(number, row) for number, row in enumerate(text.splitlines(), start=1) if row and row[:1] != b"#"]
    body = b"\n".join([row for _, row in rows]) + b"\n"
    if body.translate(None, b"0123456789|-\n"):
        return None
    characters = np.frombuffer(body, dtype=np.uint8)
    ends = np.flatnonzero(characters == ord("\n"))
    bars = np.flatnonzero(characters == ord("|"))
    if not np.array_equal(np.searchsorted(bars, ends), 2 * np.arange(1, len(ends) + 1)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # numpy warns, and stops, at what is no number
        try:
            numbers = np.fromstring(body.replace(b"|", b" ").decode("ascii"), dtype=np.int64, sep=" ")
        except (ValueError, DeprecationWarning):
            return None
    if len(numbers) != 3 * len(ends):
        return None
    a, b, kind = numbers.reshape(-1, 3).T
    if (
        min(a.min(), b.min()) < 1
        or max(a.max(), b.max()) > _MAX_ASN
        or (a == b).any()
        or not np.isin(kind, (-1, 0)).all()
    ):
        return None
    line = np.fromiter((number for number, _ in rows), dtype=np.int64, count=len(rows))
    return Relationships(a=a.copy(), b=b.copy(), kind=kind.copy(), line=line, file=file)


def _careful(text: bytes, file: str, overrides: bool) -> Relationships:
    if b"\0" in text:
        broken = text.count(b"\n", 0, text.index(b"\0")) + 1
        raise Invalid.one(f"{file}:{broken}", "is not text, nor packed by gzip or bzip2")
    rows: list[tuple[int, int, int, int]] = []
    problems: list[Problem] = []
    for number, raw in enumerate(text.decode("utf-8", errors="replace").splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#") or line.replace(" ", "").lower().startswith("asn_a,asn_b,relation"):
            continue
        row = _row(line, overrides)
        if isinstance(row, str):
            problems.append(Problem(path=f"{file}:{number}", message=row))
        else:
            rows.append((*row, number))
    table = np.array(rows, dtype=np.int64).reshape(-1, 4)
    found = Relationships(
        a=table[:, 0].copy(), b=table[:, 1].copy(), kind=table[:, 2].copy(), line=table[:, 3].copy(), file=file
    )
    if problems:
        raise Invalid(_shortened(sorted([*problems, *_contradictions(found)], key=_line_of), file))
    return found


def _row(line: str, overrides: bool) -> tuple[int, int, int] | str:
    """The link of one line, or what is wrong with it."""
    piped = "|" in line
    parts = [part.strip() for part in line.split("|" if piped else ",")]
    if len(parts) not in (3, 4):
        return f"'{line[:60]}' has {len(parts)} columns, not 3 or 4"
    numbers = [int(part) if part.isascii() and part.isdigit() and len(part) <= 10 else 0 for part in parts[:2]]
    for part, number in zip(parts, numbers, strict=False):
        if not 0 < number <= _MAX_ASN:
            return f"'{part[:20]}' is not an AS number"
    a, b = numbers
    if a == b:
        return f"AS{a} is linked with itself"
    words: Mapping[str, Link] = {"-1": Link.PROVIDER, "0": Link.PEER} if piped else _WORDS
    word = parts[2].lower()
    if word == "customer" and not piped:
        return b, a, Link.PROVIDER
    if word not in words or (words[word] is Link.NONE and not overrides):
        known = ", ".join(["customer", *words] if not piped else words)
        return f"relation '{parts[2][:20]}' is none of {known}" + (
            "" if overrides or word != "none" else " (none is for overrides)"
        )
    return a, b, int(words[word])


def _line_of(problem: Problem) -> int:
    return int(problem.path.rpartition(":")[2])


def _contradictions(found: Relationships) -> list[Problem]:
    """Two rows about one pair must say the same."""
    pairs = found.pairs()
    order = np.argsort(pairs, kind="stable")
    first, second = order[:-1], order[1:]
    same_pair = pairs[first] == pairs[second]
    # A provider row also has a direction; peers and siblings have none.
    turned = (found.kind[first] == Link.PROVIDER) & (found.a[first] != found.a[second])
    wrong = same_pair & ((found.kind[first] != found.kind[second]) | turned)
    problems = [
        Problem(
            path=f"{found.file}:{max(found.line[i], found.line[j])}",
            message=f"AS{found.a[j]} and AS{found.b[j]}: line {min(found.line[i], found.line[j])} says otherwise",
        )
        for i, j in zip(first[wrong], second[wrong], strict=True)
    ]
    return sorted(problems, key=_line_of)


def _once(found: Relationships) -> Relationships:
    """Without repeated rows."""
    _, index = np.unique(found.pairs(), return_index=True)
    if len(index) == len(found):
        return found
    index = np.sort(index)
    return Relationships(
        a=found.a[index], b=found.b[index], kind=found.kind[index], line=found.line[index], file=found.file
    )


def _contains(known: Ints, asn: int) -> bool:
    at = int(np.searchsorted(known, asn))
    return at < len(known) and int(known[at]) == asn


def _shortened(problems: list[Problem], file: str) -> list[Problem]:
    rest = len(problems) - _MOST
    return problems if rest <= 0 else [*problems[:_MOST], Problem(path=file, message=f"and {rest} more problems")]
