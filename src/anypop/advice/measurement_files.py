"""Files of measurements of any kind: octets in, observations or shares out. Which kind it is shows in the content.

Our own CSV, RIPE Atlas results, catchments of Verfploeter and MAnycastR, tables of route collectors (MRT), shares of
PoPs, and what `anypop probe -o json` printed; packed by gzip or bzip2 or not. Each is read by its own module; here is
which one, and what they are told. Pure, but for what the caller gives.
"""

import bz2
import gzip
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import BinaryIO, cast

from anypop.advice.measurement_formats import Format
from anypop.advice.measurements import identifier, of_probe, probe_rows
from anypop.model.announce import Prefix
from anypop.model.errors import Invalid
from anypop.model.sessions import Announcements
from anypop.routing.catchment.observations import Observation, Told, read_csv
from anypop.routing.measured import atlas, collectors, shares, verfploeter
from anypop.routing.paste.pasted import Pasted

_PACKERS = {b"PK\x03\x04": "zip", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z"}


def _nobody(_: object) -> int | None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What is known besides the file. `pops`: names that stand in answers; `meanings`: what other answers, addresses
    and communities mean; `asn_of_probe`, `asn_of_prefix`: whose they are; `prefix`: of ours, in a table of several;
    `announced`: what was, meanwhile; `now`: seconds since the epoch, for what has no time of its own.
    """

    pops: tuple[str, ...] = ()
    meanings: Mapping[str, str] = field(default_factory=dict)
    asn_of_probe: Callable[[int], int | None] = _nobody
    asn_of_prefix: Callable[[str], int | None] = _nobody
    prefix: Prefix | None = None
    announced: Announcements | None = None
    now: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """`shares`: by PoP, where the file tells these. `notes`: what of it says nothing, and why."""

    format: Format
    observations: tuple[Observation, ...] = ()
    shares: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read(stream: BinaryIO, name: str, beside: Beside, given: Format | None = None) -> Found:
    """`stream`: one that can begin anew. Raises `Invalid` with what is wrong in it, each with its place."""
    found = _read(stream, name, beside, given)
    if not found.observations and not found.shares and not found.notes:
        found = replace(found, notes=("no measurement is in it",))
    if beside.announced is None:
        return found
    there = set(beside.announced.pops)
    elsewhere = sorted({*(one.pop for one in found.observations), *found.shares} - there)
    if not elsewhere:
        return found
    note = f"{', '.join(elsewhere)} announced nothing by the plan ({', '.join(sorted(there))} did): is it this plan's?"
    return replace(found, notes=(*found.notes, note))


def _read(stream: BinaryIO, name: str, beside: Beside, given: Format | None) -> Found:
    from anypop.routing.paste import mrt  # noqa: PLC0415 - few files are, and its parser is nobody else's

    try:
        stream, head = _unpacked(stream, name)
        if given is Format.MRT or (given is None and mrt.looks(head)):
            told = collectors.read(
                _table(stream, beside.prefix, name).routes,
                meanings=beside.meanings,
                identify=identifier((), beside.meanings),
                announced=beside.announced,
            )
            return Found(format=Format.MRT, observations=told.observations, notes=told.notes)
        text = stream.read().decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise Invalid.one(name, f"cannot be unpacked: {error}") from error
    except UnicodeDecodeError as error:
        raise Invalid.one(name, "is neither text in UTF-8 nor a table in MRT: save it as UTF-8") from error
    if not text.strip():
        raise Invalid.one(name, "is empty")
    kind = given or format_of(text)
    if kind is Format.SHARES:
        return Found(format=kind, shares=shares.read(text, name, beside.meanings))
    if kind in (Format.ATLAS, Format.VERFPLOETER) and not beside.pops and not beside.meanings:
        raise Invalid.one(
            name, "say which answers mean which PoP: --pops AMS,LHR (their names stand in them) or --map TEXT=POP"
        )
    told = _text(kind, text, name, beside)
    return Found(format=kind, observations=told.observations, notes=told.notes)


def format_of(text: str) -> Format:
    """By the content. What is none of the others is our CSV, whose reader says what is wrong."""
    if text.lstrip().startswith(("[", "{")):
        return Format.PROBE if probe_rows(text) is not None else Format.ATLAS
    heading = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    if verfploeter.form_of(heading) is not None:
        return Format.VERFPLOETER
    return Format.SHARES if shares.is_heading(heading) else Format.CSV


def _text(kind: Format, text: str, name: str, beside: Beside) -> Told:
    identify = identifier(beside.pops, beside.meanings)
    match kind:
        case Format.ATLAS:
            return atlas.read(
                text,
                name,
                identify=identify,
                asn_of_probe=beside.asn_of_probe,
                asn_of_address=beside.asn_of_prefix,
            )
        case Format.VERFPLOETER:
            return verfploeter.read(text, name, identify=identify, asn_of_address=beside.asn_of_prefix)
        case Format.PROBE:
            rows = probe_rows(text)
            if rows is None:
                raise Invalid.one(name, "is not what 'anypop probe -o json' prints")
            return Told(observations=of_probe(rows, name, now=beside.now))
        case _:
            return Told(observations=read_csv(text, name, asn_of_prefix=beside.asn_of_prefix))


def _table(stream: BinaryIO, prefix: Prefix | None, name: str) -> Pasted:
    from anypop.routing.paste import mrt  # noqa: PLC0415 - see `read`

    try:
        return mrt.read(stream, prefix)
    except Invalid as error:
        raise Invalid.one(name, "; ".join(problem.message for problem in error.problems)) from error


def _unpacked(stream: BinaryIO, name: str) -> tuple[BinaryIO, bytes]:
    """At its beginning, with its first octets; a collector's table is not taken into memory as a whole."""
    head = stream.read(12)
    stream.seek(0)
    if head[:2] == b"\x1f\x8b":
        stream = cast(BinaryIO, gzip.GzipFile(fileobj=stream))
    elif head[:3] == b"BZh":
        stream = cast(BinaryIO, bz2.BZ2File(stream))
    elif (packer := next((who for magic, who in _PACKERS.items() if head.startswith(magic)), None)) is not None:
        raise Invalid.one(name, f"is packed by {packer}: unpack it, or pack it by gzip or bzip2")
    else:
        return stream, head
    head = stream.read(12)
    stream.seek(0)
    return stream, head
