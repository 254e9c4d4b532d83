"""How numbers of instances follow their load: the answer."""

from typing import Annotated

from pydantic import Field

from anypop.api.models.common import Answer, Moment, left_out


class Scaling(Answer):
    """One target in one PoP. There are `replicas` of it, between `least` and `most`, of which so many `serve` now.
    Where they use more than `threshold_millis` each (thousandths of a core, of `mean_millis`), there will be more.
    """

    target: str
    pop: str
    replicas: int
    least: int
    most: int
    serve: int
    threshold_millis: int
    mean_millis: int = left_out("it is known what any of them uses")
    reason: Annotated[str, Field(description="why it is not otherwise now")]
    says: str
    message: str = left_out()
    since: Annotated[Moment, Field(description="since when that is the reason")]
    changed_at: Annotated[Moment, Field(description="when the number last changed")]
    changed_for: str = left_out("its load has changed it, and no declaration")


class Scalings(Answer):
    """Of all targets of a workload that follow their load; empty: none does."""

    results: list[Scaling]
