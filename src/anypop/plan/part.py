"""What all parts of a document of the Workload API have in common: names in camel case, and no unknown field.

A part is checked as a whole and is never changed. Pure.
"""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, frozen=True)
