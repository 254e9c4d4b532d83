"""The tables of addresses that last. Part of the schema: see `schema`."""

from sqlalchemy import Column, ForeignKey, Integer, String, Table, UniqueConstraint

from anypop.control import columns
from anypop.control.schema import metadata

# One address, one allocation; one allocation, one claim: the database holds it too.
allocations = Table(
    "allocations",
    metadata,
    columns.identity(),
    columns.of_stack(),
    columns.slug(),
    Column("host", String(63), nullable=True),
    Column("kind", String(32), nullable=False),
    Column("number", Integer, nullable=True),
    Column("ip_version", Integer, nullable=False),
    columns.body(),
    columns.one_slug_of_a_stack(),
    UniqueConstraint("host", "kind", "number", "ip_version"),
)

allocation_claims = Table(
    "allocation_claims",
    metadata,
    columns.identity(),
    columns.of_stack(),
    columns.slug(),
    Column("allocation_id", String(36), ForeignKey("allocations.id"), nullable=True),
    columns.body(),
    columns.one_slug_of_a_stack(),
    UniqueConstraint("allocation_id"),
)

operations = Table(
    "operations",
    metadata,
    Column("name", String(63), primary_key=True),
    columns.of_stack(),
    columns.body(),
)
