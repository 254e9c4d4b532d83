"""`anypop edit`: a workload in an editor, and what was made of it put in its place.

In: a workload's name. Out: the difference, a question, the change. What was written is kept where control does not take
it. Secrets are not shown in the editor; a variable that is left without a value keeps the one that it has.
"""

import os
import shlex
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from anypop.cli import changes, kinds, views
from anypop.cli.call import Call, command
from anypop.cli.compose import Wishes
from anypop.cli.declaration import parsed, unwrapped
from anypop.cli.failure import Failure, usage
from anypop.cli.manifests import read
from anypop.cli.options import Timeout, Wait, Yes
from anypop.cli.screen import in_yaml

_READ_ONLY = ("id", "stackId", "status")


def register(root: typer.Typer) -> None:
    """The commands of this file, at the top level."""
    command(root, "edit", examples="anypop edit workload web\nEDITOR=nano anypop edit workload/web --no-wait")(edit)


def edit(
    call: Call,
    words: Annotated[list[str], typer.Argument(metavar="KIND NAME", help="What: 'workload web'.")],
    *,
    yes: Yes = False,
    wait: Wait = True,
    timeout: Timeout = 300,
) -> None:
    """Change a workload in your editor ($VISUAL, else $EDITOR, else vi); what you saved is shown and asked for."""
    kind, names = kinds.split(words)
    if kind.name != "workload" or len(names) != 1:
        raise usage("say which workload: 'anypop edit workload NAME'", advice="Only workloads can be edited.")
    (before,) = kinds.chosen(call, kind, names)
    document = _edited(before)
    if document is None:
        call.screen.result({"workload": before, "changes": []}, lambda: ["nothing was edited"])
        return
    path = Path(document)
    manifest = read([path], Wishes())[0]
    changed = manifest.document | {"slug": before.get("slug")}
    try:
        changes.replace(call, before, changed, yes=yes, wait=wait, timeout=timeout)
    except Failure as failure:
        again = f"What you wrote is kept: anypop apply -f {path}"
        raise Failure(
            failure.message, code=failure.code, problems=failure.problems,
            advice=f"{failure.advice} {again}".strip(),
        ) from failure  # fmt: skip
    with suppress(OSError):
        path.unlink()


def _edited(before: views.Data) -> str | None:
    """The file with what was made of it in an editor; None where that is nothing new."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    text = in_yaml({key: value for key, value in before.items() if key not in _READ_ONLY})
    handle, name = tempfile.mkstemp(prefix=f"{before.get('slug')}-", suffix=".yaml")
    with os.fdopen(handle, "w") as file:
        file.write(text)
    try:
        subprocess.run([*editor, name], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        Path(name).unlink()
        raise Failure(f"the editor {editor[0]} failed: {error}", advice="EDITOR=... names another one.") from error
    written = Path(name).read_text()
    if parsed(written, name) == [unwrapped(parsed(text, name)[0], name)]:
        Path(name).unlink()
        return None
    return name
