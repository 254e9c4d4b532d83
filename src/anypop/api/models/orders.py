"""What an agent gets for an answer to "what is my order": all of it, or what differs from the one that it has.

In: an order and its difference, as `model` has them. Out: their description for clients. The bytes are made by control,
not from this.
"""

from pydantic import RootModel

from anypop.model.order import Order
from anypop.model.order_delta import OrderDelta


class NextOrder(RootModel[Order | OrderDelta]):
    """A whole order; or, where the header `x-anypop-base` is there, the difference from an order of that generation."""
