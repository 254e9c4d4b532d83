"""What a feature of the platform brings to its simulated lives, as one value.

In: acts of people and of the world, questions that are asked at each step, now and then and in the end, and mutations
that the questions must notice. Out: `Feature`, of which the package has a tuple: one more file and one more line there
are all that a new feature needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from anypop.agent.decide.steps import Step
from anypop.control.state import State
from tests.simulate.mutation import Mutation

if TYPE_CHECKING:
    from tests.simulate.agent import Agent
    from tests.simulate.lives import Platform

Act = Callable[["Platform", Random], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """`acts`: with their weights, of which a life draws; `where_hosts_carry`: the same for platforms with a backbone;
    `where_machines_run`: for those with virtual machines, `where_volumes_are`: for those of them that have volumes.
    `at_step`: asked before a step of an agent has its effect; `at_control`: of each step of control once it is stored
    (states before and after); `now_and_then`: every few seconds, with for how long what it looks at must have been
    calm; in the end all is, and it is asked once more with a shorter time. Each raises `broken(...)`. `waits`: whether
    something is known to happen soon, so that the end has not come.
    """

    acts: tuple[tuple[int, Act], ...] = ()
    where_hosts_carry: tuple[tuple[int, Act], ...] = ()
    where_machines_run: tuple[tuple[int, Act], ...] = ()
    where_volumes_are: tuple[tuple[int, Act], ...] = ()
    at_step: tuple[Callable[["Agent", Step], None], ...] = ()
    at_control: tuple[Callable[["Platform", State, State], None], ...] = ()
    now_and_then: tuple[Callable[["Platform", float], None], ...] = ()
    waits: tuple[Callable[["Platform"], bool], ...] = ()
    at_the_end: tuple[Callable[["Platform"], None], ...] = ()
    mutations: Mapping[str, Mutation] = field(default_factory=dict[str, Any])
