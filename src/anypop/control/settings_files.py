"""Files in which the operator says how control is to be: read once, at its start.

In: a path, and the shape that is expected. Out: what stands there; or every problem at once, with its path in the file.
What it means is for who asks.
"""

from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anypop.model.errors import Invalid, Problem, WorldError

Text = Annotated[str, Field(min_length=1, max_length=512)]


class Given(BaseModel):
    """The parent of all shapes: what is not known is wrong."""

    model_config = ConfigDict(extra="forbid")


Shape = TypeVar("Shape", bound=Given)


def loaded(path: Path) -> Any:
    """The YAML of a file. Raises `WorldError` where it cannot be read."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorldError(f"read {path}", error.strerror or str(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WorldError(f"read {path}", f"it is not YAML: {error}") from error


def checked(shape: type[Shape], data: Any, root: str) -> Shape:
    """Raises `Invalid` with all that is wrong. `root`: how the paths begin."""
    try:
        return shape.model_validate(data if data is not None else {})
    except ValidationError as error:
        problems = (Problem(path=root + _path(e["loc"]), message=e["msg"]) for e in error.errors())
        raise Invalid(problems) from error


def _path(location: tuple[int | str, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
