"""What there is to scrape, in the form of Prometheus's HTTP service discovery."""

from pydantic import RootModel

from anypop.api.models.common import Answer


class TargetGroup(Answer):
    """`targets`: addresses; `labels`: what their series get beside their own, and with two underscores how they are
    scraped.
    """

    targets: list[str]
    labels: dict[str, str]


class TargetGroups(RootModel[list[TargetGroup]]):
    """All of them."""
