"""Who has an address: the answer."""

from typing import Literal

from anypop.api.models.common import Answer, left_out


class AddressOwner(Answer):
    """Who has an address. What does not apply is left out."""

    address: str
    kind: Literal["anycast", "external", "private", "foreign"]
    says: str
    stack: str = left_out("by slug")
    workload: str = left_out("by slug")
    instance: str = left_out()
    host: str = left_out("from whose prefix it follows")
    pop: str = left_out()
    allocation: str = left_out("by slug")
    claim: str = left_out("by slug")
