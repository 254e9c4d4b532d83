"""Allocations, claims and operations to rows of the store and back. Pure; see `rows`."""

from typing import Any

from sqlalchemy import RowMapping

from anypop.model import codec
from anypop.model.allocation import Allocation, AllocationClaim, Operation

Row = dict[str, Any]


def of_allocation(one: Allocation) -> Row:
    return {
        "id": one.id,
        "stack_id": one.stack_id,
        "slug": one.slug,
        "host": one.place.host if one.place is not None else None,
        "kind": one.spec.kind.value,
        "number": one.place.number if one.place is not None else None,
        "ip_version": one.spec.version,
        "body": codec.to_json(one).decode(),
    }


def to_allocation(row: RowMapping) -> Allocation:
    return codec.from_json(Allocation, row["body"])


def of_claim(one: AllocationClaim) -> Row:
    return {
        "id": one.id,
        "stack_id": one.stack_id,
        "slug": one.slug,
        "allocation_id": one.allocation_id or None,
        "body": codec.to_json(one).decode(),
    }


def to_claim(row: RowMapping) -> AllocationClaim:
    return codec.from_json(AllocationClaim, row["body"])


def of_operation(one: Operation) -> Row:
    return {"name": one.name, "stack_id": one.stack_id, "body": codec.to_json(one).decode()}


def to_operation(row: RowMapping) -> Operation:
    return codec.from_json(Operation, row["body"])
