"""`anypop backup` and `anypop restore`: control's own state in one file, and back.

In: a file's name, and the state folder. Out: what the file holds, in words. They work on the folder and its database
directly, on the machine where control runs, and ask no control for anything.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from anypop.cli.call import Call, command
from anypop.cli.options import Yes

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup, a tar.")]


def register(root: typer.Typer) -> None:
    @command(root, "backup", stack=False, examples="sudo anypop backup /srv/backups/anypop.tar")
    def backup(
        call: Call,
        file: File,
        *,
        with_key: Annotated[
            bool, typer.Option("--with-key", help="With the key of secrets: then whoever has the file has them all.")
        ] = False,
        with_images: Annotated[
            bool, typer.Option("--with-images", help="With the files of images of virtual machines, which are large.")
        ] = False,
    ) -> None:
        """Write all of control that cannot be made anew into one file, also while it runs.

        The database, the authority of the certificates and the agents' tokens; not the key of secrets, which is kept
        apart, and without --with-images not the images of virtual machines.
        """
        from anypop.control.backup import take  # noqa: PLC0415 - see the module of labs

        made = take(_folder(call), file, with_key=with_key, with_images=with_images, now=datetime.now(UTC))
        key = "with the key of secrets" if made.with_key else "without the key of secrets: keep secret.key apart"
        data = {"file": str(file), "at": made.at, "database": made.database, "with_key": made.with_key}
        data |= {"images": made.images}
        images = f"{made.images} of them of images, " if made.images else ""
        call.screen.result(data, lambda: [f"{file}: {made.database}, {len(made.files)} files, {images}{key}"])

    @command(root, "restore", stack=False, examples="sudo anypop restore /srv/backups/anypop.tar --replace --yes")
    def restore(
        call: Call,
        file: File,
        *,
        replace: Annotated[
            bool, typer.Option("--replace", help="Also where a database is there; that of SQLite is moved aside.")
        ] = False,
        yes: Yes = False,
    ) -> None:
        """Bring a backup back, while no control runs.

        PoPs go on meanwhile. What was declared after the backup is not known then: 'anypop host reset' helps a host
        that refuses its order for that.
        """
        from anypop.control.backup import restore as bring  # noqa: PLC0415

        if replace:
            call.screen.agree("Replace control's database by the backup's?", yes=yes)
        found = bring(_folder(call), file, replace=replace, now=datetime.now(UTC))
        data = {"file": str(file), "at": found.at, "database": found.database, "with_key": found.with_key}
        call.screen.result(data, lambda: [f"{file}: restored as of {found.at}; start control now"])


def _folder(call: Call) -> Path:
    """Control's own: below the platform's where `anypop up` made it, else the very folder that was named."""
    below = call.folder / "control"
    return below if below.is_dir() else call.folder
