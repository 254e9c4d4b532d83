"""The tables of addresses that last. Part of the schema: see `schema`."""

from sqlalchemy import Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from anypop.control.schema import metadata

# One address, one allocation; one allocation, one claim: the database holds it too.
allocations = Table(
    "allocations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("stack_id", String(36), ForeignKey("stacks.id"), nullable=False),
    Column("slug", String(63), nullable=False),
    Column("host", String(63), nullable=True),
    Column("kind", String(32), nullable=False),
    Column("number", Integer, nullable=True),
    Column("ip_version", Integer, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("stack_id", "slug"),
    UniqueConstraint("host", "kind", "number", "ip_version"),
)

allocation_claims = Table(
    "allocation_claims",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("stack_id", String(36), ForeignKey("stacks.id"), nullable=False),
    Column("slug", String(63), nullable=False),
    Column("allocation_id", String(36), ForeignKey("allocations.id"), nullable=True),
    Column("body", Text, nullable=False),
    UniqueConstraint("stack_id", "slug"),
    UniqueConstraint("allocation_id"),
)

operations = Table(
    "operations",
    metadata,
    Column("name", String(63), primary_key=True),
    Column("stack_id", String(36), ForeignKey("stacks.id"), nullable=False),
    Column("body", Text, nullable=False),
)
