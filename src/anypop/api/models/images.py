"""Images of virtual machines: what is asked for, and how they stand. Paths name family and tag."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from anypop.api.models.common import Answer, CamelAnswer, CamelRequest, CountText, Id, Moment, Page, left_out
from anypop.model.limits import LONGEST_NAME, LONGEST_NOTE
from anypop.model.machine import Board, DiskFormat, Firmware, PartName

LONGEST_CMDLINE = 2048  # COMMAND_LINE_SIZE of Linux on x86
LONGEST_URL = 2048
MOST_BYTES = 1 << 38

Words = Annotated[str, Field(max_length=LONGEST_NOTE)]


class ImagePartBody(CamelRequest):
    """One file: fetched from `url` by control, or sent (`size` and `sha256` are then required)."""

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(max_length=LONGEST_URL, description="http or https, not inside of the platform")] = ""
    size: Annotated[int | None, Field(ge=1, le=MOST_BYTES, description="bytes; a number, or its text")] = None
    sha256: Annotated[
        str, Field(max_length=64, pattern="^([0-9a-fA-F]{64})?$", description="64 hex digits, of the whole file")
    ] = ""


class ImagePartsBody(CamelRequest):
    """A disk; or a kernel that is started by itself, with an initial file system and a disk where it wants them."""

    model_config = ConfigDict(extra="forbid")

    disk: Annotated[ImagePartBody | None, Field(description="qcow2 that stands for itself, or raw")] = None
    kernel: ImagePartBody | None = None
    initrd: ImagePartBody | None = None


class ImageBody(CamelRequest):
    """What an image consists of, for ever: another content is another tag."""

    model_config = ConfigDict(extra="forbid")

    description: Words = ""
    firmware: Annotated[Firmware | None, Field(description="default: KERNEL where there is a kernel, else BIOS")] = None
    board: Annotated[Board | None, Field(description="default: Q35; MICROVM is for kernels")] = None
    cmdline: Annotated[
        str, Field(max_length=LONGEST_CMDLINE, pattern=r"^[\x20-\x7e]*$", description="of the kernel")
    ] = ""
    parts: ImagePartsBody
    # the server's own: accepted, since clients send back what they read
    stack_id: Any = None
    family: Any = None
    tag: Any = None


class ImageRequest(CamelRequest):
    image: ImageBody


class CaptureBody(CamelRequest):
    """A disk of a virtual machine that becomes an image."""

    model_config = ConfigDict(extra="forbid")

    instance: Annotated[str, Field(max_length=LONGEST_NAME, description="of this stack: its name or id")]
    volume: Annotated[
        str, Field(max_length=LONGEST_NAME, description="of its volumes, by the slug of its claim; default: root disk")
    ] = ""
    description: Words = ""
    firmware: Annotated[
        Literal["BIOS", "UEFI"] | None,
        Field(description="how a volume begins (BIOS); a root disk has its image's, and the variables of UEFI"),
    ] = None


class CaptureImageRequest(CamelRequest):
    capture: CaptureBody


class ImageChangeBody(CamelRequest):
    """What may be said of an image later."""

    model_config = ConfigDict(extra="forbid")

    description: Words


class ImageChangeRequest(CamelRequest):
    image: ImageChangeBody


class DeprecationBody(CamelRequest):
    """A deprecated image is what its tag means, and never what its family alone means."""

    model_config = ConfigDict(extra="forbid")

    deprecated: bool = True
    reason: Words = ""


class DeprecationRequest(CamelRequest):
    deprecation: DeprecationBody = DeprecationBody()


class ImageCapturedFrom(CamelAnswer):
    instance: str
    volume: str = left_out("its root disk")


class ImagePart(CamelAnswer):
    """`whole`: all of it is here, and it has its checksum. `url`: where it was fetched, without its query."""

    name: PartName
    received: Annotated[CountText, Field(description="bytes that are here; what is sent goes on at this offset")]
    size: CountText = left_out("not known yet")
    sha256: str = left_out("not known yet")
    url: str = left_out("it is fetched from nowhere")
    captured_from: ImageCapturedFrom = left_out("it is no machine's disk")
    copied: int = left_out("percent of the disk that its host has copied: none is copied now")
    begun_anew: int = left_out(
        "how often its host had to begin the copy anew: it is the first one, or none is copied now"
    )
    whole: bool


class Deprecation(CamelAnswer):
    deprecated: bool
    reason: str = left_out()
    at: Moment = left_out()


class Image(CamelAnswer):
    """An image of virtual machines. `reference`: what a workload names it by."""

    id: Id
    stack_id: Id
    family: str
    tag: str
    reference: str
    description: str = left_out()
    status: Literal["IMPORTING", "READY", "FAILED"]
    reason: str = left_out("why it FAILED")
    firmware: Firmware
    board: Board
    cmdline: str = left_out()
    disk_format: DiskFormat = left_out("it is not READY, or has no disk")
    disk_bytes: CountText = left_out("how large the disk looks to a guest")
    parts: list[ImagePart]
    deprecation: Deprecation
    created_at: Moment
    updated_at: Moment


class ImageAnswer(CamelAnswer):
    image: Image


class ImagePage(Page):
    results: list[Image]


class ImagePartAnswer(CamelAnswer):
    part: ImagePart


class ImageHolders(Answer):
    """`hosts`: their names; another host asks them in this order, and then control."""

    hosts: list[str]
