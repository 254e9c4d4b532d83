"""`anypop vm image`: images of virtual machines: brought to control, listed, described, deprecated, deleted.

In: files here, or URLs that control fetches. Out: tables. What is sent goes in pieces, and an import that was cut goes
on where it was when it is called again. It decides nothing: what an image may be is control's to say.
"""

import time
from typing import Annotated
from urllib.parse import quote

import typer

from anypop.cli import views
from anypop.cli.call import Call, command
from anypop.cli.failure import Exit, Failure, usage
from anypop.cli.image_sources import Sent, Wanted, ask_for, read
from anypop.cli.options import Timeout, Wait, Yes
from anypop.cli.table import Cell, Column, Table

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Virtual machines.")
image = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Bring images of virtual machines, list them, let them go."
)
app.add_typer(image, name="image")

PIECE = 1 << 20  # control takes four times as much, and holds each piece in memory while it comes
TRIES = 6  # in a row that bring nothing
TOLD_EVERY_S = 5.0
_LOOK_S = 1.0
_STYLES = {"READY": "green", "IMPORTING": "yellow", "FAILED": "red"}

Named = Annotated[str, typer.Argument(metavar="FAMILY:TAG", help="As in debian:12.")]
FamilyOption = Annotated[str, typer.Option("--family", metavar="NAME", help="What workloads call it by.")]
DescriptionOption = Annotated[
    str, typer.Option("--description", metavar="TEXT", help="For whoever reads the list.", show_default=False)
]
PartOption = typer.Option(metavar="FILE|URL", show_default=False)


@command(
    image,
    "import",
    examples="""
    anypop vm image import debian-12.qcow2 --family debian --tag 12
    anypop vm image import https://images.example.net/debian-12.qcow2 --family debian --sha256 5c7...
    anypop vm image import --kernel vmlinuz --initrd initrd --cmdline "console=ttyS0" --family tiny
    """,
)
def import_image(
    call: Call,
    source: Annotated[
        str,
        typer.Argument(
            metavar="[FILE|URL|FOLDER]",
            help="The disk, qcow2 or raw; or a folder with an image.json beside its parts.",
            show_default=False,
        ),
    ] = "",
    *,
    family: FamilyOption,
    tag: Annotated[
        str, typer.Option("--tag", metavar="NAME", help="Default: the beginning of its checksum.", show_default=False)
    ] = "",
    sha256: Annotated[
        str, typer.Option("--sha256", metavar="HEX", help="The disk must have this checksum.", show_default=False)
    ] = "",
    kernel: Annotated[str, typer.Option("--kernel", help="A kernel to start by itself.")] = "",
    initrd: Annotated[str, typer.Option("--initrd", help="Its initial file system.")] = "",
    cmdline: Annotated[
        str, typer.Option("--cmdline", metavar="TEXT", help="What the kernel is told.", show_default=False)
    ] = "",
    firmware: Annotated[
        str, typer.Option("--firmware", metavar="bios|uefi", help="How a disk begins.", show_default=False)
    ] = "",
    board: Annotated[
        str, typer.Option("--board", metavar="q35|microvm", help="The machine that it sees.", show_default=False)
    ] = "",
    description: DescriptionOption = "",
    wait: Wait = True,
    timeout: Timeout = 3600.0,
) -> None:
    """Bring an image to control, and wait until it is verified. Called again it goes on where it was cut.

    Control fetches what is a URL, from public addresses alone; what is a file is sent from here.
    """
    wanted = read(
        {"disk": source, "kernel": kernel, "initrd": initrd},
        sha256=sha256, cmdline=cmdline, firmware=firmware, board=board, description=description,
    )  # fmt: skip
    found = bring(call, wanted, family, tag or wanted.default_tag(), timeout=timeout if wait else 0)
    tell(call, found, wait=wait)


def tell(call: Call, found: views.Data, *, wait: bool) -> None:
    """How an image has become. Raises `Failure` where it is not READY and somebody waited for it."""
    call.screen.result(found, lambda: [_sentence(found)])
    if found.get("status") == "FAILED":
        raise Failure(f"{_name(found)} cannot be used: {found.get('reason')}")
    if wait and found.get("status") != "READY":
        raise Failure(
            f"{_name(found)} is not here yet", code=Exit.TIMEOUT,
            advice=f"It goes on by itself: 'anypop vm image describe {_name(found)}' shows it.",
        )  # fmt: skip


def bring(call: Call, wanted: Wanted, family: str, tag: str, *, timeout: float) -> views.Data:
    """The image as it stands once its bytes are in control, and for so long was waited until they are verified."""
    path = path_of(call, family, tag)
    found = ask_for(call, path, wanted)
    until = time.monotonic() + timeout
    for part in wanted.sent:
        found = _send(call, path, part, found)
    return until_over(call, path, found, until)


@command(image, "list", examples="anypop vm image list\nanypop vm image list --family debian -o json")
def list_images(
    call: Call,
    *,
    family: Annotated[
        str, typer.Option("--family", metavar="NAME", help="Of this family alone.", show_default=False)
    ] = "",
) -> None:
    """The images of the stack, by family, the newest first."""
    path = f"{call.stack_path('workload')}/images" + (f"/{quote(family, safe='')}" if family else "")
    found = call.client.every(path, what="list images")
    call.screen.result(found, lambda: [_table(found)])


@command(image, "describe", examples="anypop vm image describe debian:12")
def describe(call: Call, name: Named) -> None:
    """All about one image: its parts, their checksums, how much is here."""
    found = _got(call, path_of(call, *_split(name)))
    call.screen.result(found, lambda: [_table([found]), "", _parts(found)])


@command(
    image,
    "deprecate",
    examples="anypop vm image deprecate debian:12 --reason 'old kernel'\nanypop vm image deprecate debian:12 --undo",
)
def deprecate(
    call: Call,
    name: Named,
    *,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why.", show_default=False)] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Take it back.")] = False,
) -> None:
    """Say that an image is not to be used any more: its family alone no longer means it, its tag still does."""
    body = {"deprecation": {"deprecated": not undo, "reason": reason}}
    path = f"{path_of(call, *_split(name))}/deprecation"
    found = call.client.call("PUT", path, what=f"deprecate {name}", body=body)["image"]
    call.screen.result(found, lambda: [_table([found])])


@command(image, "delete", examples="anypop vm image delete debian:12 --yes\nanypop vm image delete debian --yes")
def delete(
    call: Call,
    name: Annotated[str, typer.Argument(metavar="FAMILY[:TAG]", help="One image, or a whole family.")],
    *,
    yes: Yes = False,
) -> None:
    """Delete an image, or all of a family, that no workload uses. Instances that run stay."""
    family, _, tag = name.partition(":")
    call.screen.agree(f"Delete {name if tag else f'all images of {family}'}?", yes=yes)
    call.client.call("DELETE", path_of(call, family, tag), what=f"delete {name}")
    call.screen.result({"deleted": name}, lambda: [f"{name} is deleted"])


def _send(call: Call, path: str, part: Sent, found: views.Data) -> views.Data:
    """The bytes of one part, from where they are missing. A piece whose answer was lost is not sent twice."""
    where = f"{path.replace('/workload/v1/', '/anypop/v1/', 1)}/parts/{part.name}"
    failures, told = 0, time.monotonic()
    with part.file.open("rb") as file:
        while (one := _of(found, part.name)) and found["status"] == "IMPORTING" and not one["whole"]:
            received, size = int(one["received"]), int(one["size"])
            if received >= size:
                return found
            file.seek(received)
            if time.monotonic() - told > TOLD_EVERY_S:
                told = time.monotonic()
                call.screen.note(f"{part.name}: {received * 100 // size} % of {_size(size)}")
            try:
                answer = call.client.give(
                    where, file.read(PIECE), what=f"send the {part.name}", query={"offset": received}
                )
                found, failures = _with(found, answer["part"]), 0
            except Failure as failure:
                failures += 1
                if failure.code not in (Exit.UNREACHABLE, Exit.USAGE) or failures >= TRIES:
                    raise
                time.sleep(0.2 * 2**failures)
                found = _got(call, path)
    return found


def until_over(call: Call, path: str, found: views.Data, until: float) -> views.Data:
    """The image once nothing happens to it any more by itself, or `until` is over."""
    told = time.monotonic()
    while found["status"] == "IMPORTING" and time.monotonic() < until:
        time.sleep(_LOOK_S / 5 if time.monotonic() - told < _LOOK_S else _LOOK_S)
        found = _got(call, path)
        if time.monotonic() - told > TOLD_EVERY_S:
            told = time.monotonic()
            call.screen.note(", ".join(_progress(p) for p in found["parts"] if not p["whole"]) or "it is verified")
    return found


def path_of(call: Call, family: str, tag: str = "") -> str:
    """Of an image, or of a family."""
    return "/".join([f"{call.stack_path('workload')}/images", *(quote(n, safe="") for n in (family, tag) if n)])


def _split(name: str) -> tuple[str, str]:
    family, _, tag = name.partition(":")
    if not family or not tag:
        raise usage(f"{name} names no image", advice="As in debian:12; 'anypop vm image list' shows all.")
    return family, tag


def _got(call: Call, path: str) -> views.Data:
    found: views.Data = call.client.get(path, what="look at the image")["image"]
    return found


def _of(found: views.Data, name: str) -> views.Data | None:
    return next((p for p in found["parts"] if p["name"] == name), None)


def _with(found: views.Data, part: views.Data) -> views.Data:
    return {**found, "parts": [part if p["name"] == part["name"] else p for p in found["parts"]]}


def _name(found: views.Data) -> str:
    return f"{found['family']}:{found['tag']}"


def _sentence(found: views.Data) -> str:
    return f"{found['reference']} is {str(found['status']).lower()}"


def _progress(part: views.Data) -> str:
    received = int(part["received"])
    if not received and part.get("copied") is not None:
        anew = f", begun anew {part['begunAnew']} times" if part.get("begunAnew") else ""
        return f"{part['name']}: its host has copied {part['copied']} %{anew}"
    if not part.get("size"):
        return f"{part['name']}: {_size(received)}"
    return f"{part['name']}: {received * 100 // max(1, int(part['size']))} % of {_size(int(part['size']))}"


def _from(part: views.Data) -> str:
    source = part.get("capturedFrom")
    if source is None:
        return views.text(part.get("url"))
    return f"{source['instance']}:{source['volume']}" if source.get("volume") else str(source["instance"])


def _size(number: int) -> str:
    return f"{number / 2**30:.3g} GiB" if number >= 1 << 30 else f"{number / 2**20:.3g} MiB"


def _table(found: list[views.Data]) -> Table:
    columns = [
        Column(head="IMAGE"), Column(head="STATUS"), Column(head="SIZE", right=True),
        Column(head="DISK", right=True, drop=2), Column(head="FIRMWARE", drop=3), Column(head="BOARD", drop=4),
        Column(head="DEPRECATED", maybe=True), Column(head="CREATED", drop=1),
        Column(head="WHAT", prose=True, maybe=True), Column(head="WHY", prose=True, maybe=True),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            (views.text(i.get("reference")), "bold"),
            (views.text(i.get("status")), _STYLES.get(str(i.get("status")), "")),
            _size(sum(int(p.get("size") or 0) for p in i["parts"])),
            _size(int(i["diskBytes"])) if i.get("diskBytes") else "-",
            views.text(i.get("firmware")),
            views.text(i.get("board")),
            views.text(i["deprecation"].get("reason") or "yes") if i["deprecation"]["deprecated"] else "-",
            views.text(i.get("createdAt"))[:16],
            views.text(i.get("description")),
            views.text(i.get("reason")),
        ]
        for i in found
    ]
    return Table(columns=columns, rows=rows, empty="this stack has no images of virtual machines")


def _parts(found: views.Data) -> Table:
    columns = [
        Column(head="PART"), Column(head="RECEIVED", right=True), Column(head="SIZE", right=True),
        Column(head="SHA256"), Column(head="FROM", maybe=True),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            p["name"], p["received"], views.text(p.get("size")), views.text(p.get("sha256")), _from(p),
        ]
        for p in found["parts"]
    ]  # fmt: skip
    return Table(columns=columns, rows=rows)
