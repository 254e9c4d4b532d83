"""What an import of an image of a virtual machine is made from: files here, URLs, or a folder that describes itself.

In: what the command line names. Out: what control is asked for, and the files to send. It reads each file once for its
checksum, and sends nothing.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anypop.cli import views
from anypop.cli.call import Call
from anypop.cli.failure import Exit, Failure, usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A part that is sent from here."""

    name: str
    file: Path
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    body: Mapping[str, Any]
    sent: tuple[Sent, ...]

    def default_tag(self) -> str:
        """The same for the same content, so that an import that is called again goes on."""
        told = json.dumps(self.body, sort_keys=True)
        first = next((one.sha256 for one in self.sent), "")
        return (first or hashlib.sha256(told.encode()).hexdigest())[:12]


def read(
    places: Mapping[str, str], *, sha256: str, cmdline: str, firmware: str, board: str, description: str
) -> Wanted:
    """`places`: of each part, a file, a URL or empty; the disk: a folder with an `image.json` too. Raises `Failure`."""
    folder = Path(places["disk"]) if places["disk"] and not _is_url(places["disk"]) else None
    if folder is not None and folder.is_dir():
        if sha256 or places["kernel"] or places["initrd"]:
            raise usage(f"{folder} describes itself: leave --sha256, --kernel and --initrd out")
        told = _described(folder)
        places = {name: str(folder / file) for name, file in told["files"].items()}
        cmdline = cmdline or str(told.get("cmdline") or "")
        firmware, board = firmware or str(told.get("firmware") or ""), board or str(told.get("board") or "")
    parts: dict[str, Any] = {}
    sent = []
    for name, place in places.items():
        if not place:
            continue
        if _is_url(place):
            parts[name] = {"url": place, **({"sha256": sha256} if sha256 and name == "disk" else {})}
            continue
        one = _sent(name, Path(place))
        if sha256 and name == "disk" and one.sha256 != sha256.lower():
            raise Failure(f"{place} has another checksum: {one.sha256}", advice="Is it all of the file?")
        parts[name] = {"size": one.size, "sha256": one.sha256}
        sent.append(one)
    if not parts:
        raise usage("name a disk, or a --kernel", advice="As in: anypop vm image import debian.qcow2 --family debian")
    said = {"cmdline": cmdline, "description": description, "firmware": firmware.upper(), "board": board.upper()}
    return Wanted(body={"parts": parts, **{k: v for k, v in said.items() if v}}, sent=tuple(sent))


def ask_for(call: Call, path: str, wanted: Wanted) -> views.Data:
    """The image as control has it: made now, or the one that is on its way already and consists of the same."""
    return made_or_there(
        call, path, path, {"image": wanted.body}, what="make the image",
        wanted=lambda found: found["status"] != "FAILED" and _is_same(found, wanted),
    )  # fmt: skip


def made_or_there(
    call: Call, path: str, asked: str, body: views.Data, *, what: str, wanted: Callable[[views.Data], bool]
) -> views.Data:
    """The image at `path`, made by a POST to `asked`; or one that is there, from a call before this one that was cut
    off, where it is what is `wanted`. Raises `Failure`.
    """
    try:
        made: views.Data = call.client.call("POST", asked, what=what, body=body)["image"]
        return made
    except Failure as failure:
        if failure.code is not Exit.FAILED:
            raise
        try:
            found: views.Data = call.client.get(path, what="look at the image")["image"]
        except Failure:
            raise failure from None
        if not wanted(found):
            raise
        return found


def _is_same(found: views.Data, wanted: Wanted) -> bool:
    had = {p["name"]: p.get("sha256", "") for p in found["parts"]}
    return had.keys() == wanted.body["parts"].keys() and all(
        not part.get("sha256") or had[name] == part["sha256"] for name, part in wanted.body["parts"].items()
    )


def _is_url(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _sent(name: str, file: Path) -> Sent:
    try:
        with file.open("rb") as opened:
            found, size = hashlib.file_digest(opened, "sha256").hexdigest(), opened.tell()
    except OSError as error:
        raise usage(f"{file} cannot be read: {error.strerror or error}") from error
    if not size:
        raise usage(f"{file} is empty")
    return Sent(name=name, file=file, size=size, sha256=found)


def _described(folder: Path) -> dict[str, Any]:
    """The `image.json` of a folder: an image as orders have it, and beside it `files`."""
    try:
        told = json.loads((folder / "image.json").read_bytes())
        names = {str(part["name"]): str(part.get("file") or part["name"]) for part in told["parts"]}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise usage(f"{folder} has no image.json that can be read: {error}") from error
    if any(Path(file).name != file for file in names.values()):
        raise usage(f"{folder}/image.json names files that are elsewhere")
    return {**told, "files": names}
