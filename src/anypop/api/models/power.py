"""What may be asked of a virtual machine's power, and its first password."""

from typing import Annotated

from pydantic import ConfigDict, Field

from anypop.api.models.common import Answer, Request


class RescueRequest(Request):
    """With which image it is to start."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(description="<stack>/<family>, or with :<tag>", max_length=200)]


class InitialPassword(Answer):
    """As its guest told it."""

    password: str
