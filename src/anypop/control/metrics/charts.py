"""The closed list of charts that people may ask for, and what each asks of a store and of hosts.

In: a chart's name, whose instances, how they are put together. Out: a PromQL expression of which every text is
control's own or escaped, the names of samples, the moments of values. Nobody writes PromQL but this module. Pure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

LONGEST_S = 31 * 86_400.0
MOST_POINTS = 1500  # of one curve: more than a screen has across
USUAL_POINTS = 240
STEPS = (1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 86_400)
# Of the agents' own samples: a row each so many seconds, for so long.
TIERS = (1.0, 10.0, 60.0)
KEPT_S = (3600.0, 86_400.0, 31 * 86_400.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """`name`: of the samples. `rate`: they count, and what is shown is how fast. `together`: how several instances are
    put together (`sum`, `max`).
    """

    name: str
    unit: str
    rate: bool
    together: str = "sum"


CHARTS: Mapping[str, Chart] = {
    "cpu": Chart(name="anypop_instance_cpu_seconds_total", unit="cores", rate=True),
    "memory": Chart(name="anypop_instance_memory_bytes", unit="bytes", rate=False),
    "receive": Chart(name="anypop_instance_network_receive_bytes_total", unit="bytes/s", rate=True),
    "transmit": Chart(name="anypop_instance_network_transmit_bytes_total", unit="bytes/s", rate=True),
    "new_flows": Chart(name="anypop_anycast_new_flows_total", unit="flows/s", rate=True),
    "probe": Chart(name="anypop_instance_probe_seconds", unit="seconds", rate=False, together="max"),
}
BY: Mapping[str, tuple[str, ...]] = {
    "stack": ("stack",),
    "workload": ("stack", "workload"),
    "pop": ("stack", "workload", "pop"),
    "instance": ("stack", "workload", "pop", "instance"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`stacks`: ids, never none: whose instances may be seen at all. The others narrow it ("": all). `by`: of `BY`.
    Times in seconds since the epoch; values are at `since`, and each `step` after it up to `until`.
    """

    chart: str
    stacks: tuple[str, ...]
    workload: str = ""
    pop: str = ""
    instance: str = ""
    by: str = "workload"
    since: float
    until: float
    step: float

    @property
    def labels(self) -> tuple[str, ...]:
        return BY[self.by]

    def window_s(self, interval: float) -> float:
        """Over how long a value looks back: at least over four samples, of which one may be late and one be lost."""
        return max(self.step, 4 * interval)


def usual_step(span_s: float, *, least: float) -> float:
    """So that a curve has some 240 values, and none that nobody measured."""
    return float(next((step for step in STEPS if span_s / step <= USUAL_POINTS and step >= least), STEPS[-1]))


def tier_for(step: float, age_s: float) -> float:
    """The tier of an agent's samples that has what a step needs and reaches so far back."""
    least = next((tier for tier, kept_s in zip(TIERS, KEPT_S, strict=True) if age_s <= kept_s), TIERS[-1])
    return max([tier for tier in TIERS if tier <= step] + [least])


def promql(question: Question, interval: float) -> str:
    """`interval`: how often the store scrapes, in seconds."""
    chart = CHARTS[question.chart]
    window = f"{round(question.window_s(interval) * 1000)}ms"
    over = "rate" if chart.rate else f"{'max' if chart.together == 'max' else 'avg'}_over_time"
    return f"{chart.together} by ({', '.join(question.labels)}) ({over}({selector(chart.name, question)}[{window}]))"


def selector(name: str, question: Question) -> str:
    """The stacks come first and are always there: without one, nothing is selected."""
    if not question.stacks:
        raise ValueError("a question without a stack is nobody's")
    matchers = [f"stack=~{quoted('|'.join(map(_literal, question.stacks)))}"]
    narrower = (("workload", question.workload), ("pop", question.pop), ("instance", question.instance))
    matchers += [f"{label}={quoted(value)}" for label, value in narrower if value]
    return f"{name}{{{', '.join(matchers)}}}"


def quoted(text: str) -> str:
    """A string of PromQL that is this text, whatever it holds."""
    inside = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{inside}"'


def _literal(text: str) -> str:
    """A regular expression (RE2) that is this text alone."""
    return "".join(char if char.isalnum() or char in "-_" else f"\\{char}" for char in text)


def grid(question: Question) -> Sequence[float]:
    """The moments at which there are values."""
    count = int((question.until - question.since) / question.step + 1e-9) + 1
    return [question.since + n * question.step for n in range(count)]
