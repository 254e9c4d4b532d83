"""Targets as they may be declared: which cities, how many instances in each, and how these follow their load.

A part of `plan.schema`, with the same rules: what could not be done is refused, and no defaults are filled in.
"""

from typing import Annotated

from pydantic import Field, model_validator

from anypop.model.limits import MOST_ENTRIES
from anypop.plan.kinds import City, Count, Cpu, Few, Replicas, one_of
from anypop.plan.part import Part

# of what an instance asks for: with a limit above that it may use more
_MOST_PERCENT = 10_000


class ScaleMetric(Part):
    """The mean use of processor of a target's instances in a PoP, above which there are to be more: in percent of what
    they ask for, or in cores.
    """

    metric: Annotated[str, one_of("cpu", fold=True, required=True)]
    average_utilization: Count | None = None
    average_value: Cpu | None = None

    @model_validator(mode="after")
    def _says_one(self) -> "ScaleMetric":
        if bool(self.average_utilization) is bool(self.average_value):
            raise ValueError("give one of averageUtilization (percent of the requested cpu) and averageValue (500m)")
        if (self.average_utilization or 0) > _MOST_PERCENT:
            raise ValueError(f"averageUtilization is {self.average_utilization}; it may be 1 to {_MOST_PERCENT}")
        return self


class ScaleSettings(Part):
    """By which metrics; of several the one counts that asks for most instances."""

    metrics: Annotated[list[ScaleMetric], Few] | None = None


class Selector(Part):
    """Cities that have a PoP when it is declared: those in `values`, those not in it, all of them, or none. Several
    selectors must all fit.
    """

    key: Annotated[str, one_of("cityCode", enum=True, required=True)]
    operator: Annotated[str, one_of("in", "notin", "exists", "doesnotexist", fold=True, required=True)]
    values: Annotated[list[City], Field(max_length=MOST_ENTRIES)] | None = None

    @model_validator(mode="after")
    def _fits(self) -> "Selector":
        names = self.operator.lower() in ("in", "notin")
        if names is not bool(self.values):
            raise ValueError("values: is required, at least one city" if names else f"values: {self.operator} has none")
        return self


class Deployments(Part):
    """How many instances, in each of the selected cities: as many as `minReplicas`, and with `scaleSettings` up to
    `maxReplicas` where their load asks for it.
    """

    min_replicas: Replicas | None = None
    max_replicas: Replicas | None = None
    scale_settings: ScaleSettings | None = None
    selectors: Annotated[list[Selector], Field(min_length=1, max_length=MOST_ENTRIES)]

    @property
    def replicas(self) -> int:
        """In each city. Protobuf's JSON leaves out a zero."""
        return self.min_replicas or 0

    @property
    def metrics(self) -> list[ScaleMetric]:
        return (self.scale_settings.metrics if self.scale_settings is not None else None) or []

    @model_validator(mode="after")
    def _in_order(self) -> "Deployments":
        if self.max_replicas and self.max_replicas < self.replicas:
            raise ValueError(f"maxReplicas is {self.max_replicas}, less than minReplicas {self.min_replicas}")
        if self.metrics and not self.max_replicas:
            raise ValueError("maxReplicas is required with scaleSettings: up to how many instances in each city")
        if self.metrics and not self.replicas:
            raise ValueError(
                "minReplicas must be at least 1 with scaleSettings: where nothing runs no load is measured"
            )
        return self


class TargetSpec(Part):
    deployment_scope: Annotated[str, one_of("cityCode", enum=True)] | None = None
    deployments: Deployments


class Target(Part):
    """A named group of cities."""

    spec: TargetSpec
