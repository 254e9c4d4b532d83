"""A seed as a disk: an ISO 9660 image with the label by which cloud-init's NoCloud knows it.

In: files by name. Out: one file, whole or not at all, for its owner alone: it may hold passwords. Names are told in
Rock Ridge and Joliet, as guests of all kinds read them. The same files are the same bytes, whenever it is written.
"""

import io
import time
from collections.abc import Mapping
from pathlib import Path

LABEL = "cidata"
_STAMPED = 1_000_000_000.0  # when all of it is said to be of


class _Still:
    """`time` for pycdlib, which stamps everything with the moment and has no other way to be told."""

    localtime, strptime, strftime = staticmethod(time.gmtime), staticmethod(time.strptime), staticmethod(time.strftime)
    gmtime, struct_time = staticmethod(time.gmtime), time.struct_time

    @staticmethod
    def time() -> float:
        return _STAMPED


def write_iso(path: Path, files: Mapping[str, bytes]) -> None:
    """What stands there is replaced."""
    import pycdlib  # noqa: PLC0415  # seven megabytes that an agent without machines need not have
    from pycdlib import dates, headervd, utils  # noqa: PLC0415
    from pycdlib import pycdlib as whole  # noqa: PLC0415

    for module in (whole, headervd, dates, utils):
        vars(module)["time"] = _Still
    disk = pycdlib.PyCdlib()
    disk.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    opened = [io.BytesIO(content) for content in files.values()]
    for n, (name, content) in enumerate(zip(files, opened, strict=True)):
        size = content.getbuffer().nbytes
        disk.add_fp(content, size, f"/F{n}.;1", rr_name=name, joliet_path=f"/{name}", file_mode=0o100444)
    half = path.with_name(f"{path.name}.half")
    half.unlink(missing_ok=True)
    half.touch(mode=0o600)
    with half.open("r+b") as out:
        disk.write_fp(out)
    disk.close()
    half.rename(path)
