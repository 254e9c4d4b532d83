"""Environment from instance fields: the path language, and what an instance has to offer."""

import pytest

from anypop.model.names import HostName
from anypop.model.plan import Verdict, World
from anypop.model.workload import Container
from anypop.plan.jsonpath import Matching, steps_of, value_at
from anypop.plan.orders import order_for
from anypop.plan.planner import plan
from anypop.plan.quantity import cpu_millis, memory_bytes
from tests.worlds import LHR, network, workload


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        (".name", ("name",)),
        ("{.location.cityCode}", ("location", "cityCode")),
        ("$.ipAddress", ("ipAddress",)),
        (".networkInterfaces[0].gateway", ("networkInterfaces", 0, "gateway")),
        (
            '.networkInterfaces[?(@.network=="default")].gateway',
            ("networkInterfaces", Matching(field="network", value="default"), "gateway"),
        ),
        (r".metadata.labels['a\.b/c']", ("metadata", "labels", "a.b/c")),
    ],
)
def test_a_path_is_read_step_by_step(path: str, steps: tuple[object, ...]) -> None:
    """The forms that clients write."""
    assert steps_of(path) == steps


@pytest.mark.parametrize("path", ["", "name", ".a..b", ".a[", ".a[?(@.b>1)]", ".*"])
def test_a_path_outside_the_subset_is_refused(path: str) -> None:
    """Rather than read as something else."""
    with pytest.raises(ValueError, match="paths look like"):
        steps_of(path)


def test_a_value_that_is_not_there_or_not_a_scalar_is_none() -> None:
    """Missing keys, wrong kinds and whole objects give nothing."""
    data = {"a": {"b": 1}, "l": [{"n": "x", "v": "y"}]}
    assert value_at(steps_of(".a.b"), data) == "1"
    assert value_at(steps_of(".a"), data) is None
    assert value_at(steps_of(".l[3].v"), data) is None
    assert value_at(steps_of(".a[0]"), data) is None
    assert value_at(steps_of(".l[?(@.n=='x')].v"), data) == "y"


def test_instance_fields_reach_the_environment() -> None:
    """Each instance gets its own city, addresses and labels, beside its plain variables."""
    asked = (
        ("CITY", ".location.cityCode"),
        ("ME", ".name"),
        ("IP", ".ipAddress"),
        ("GW", '.networkInterfaces[?(@.network=="default")].gateway'),
        ("ROLE", r".metadata.labels['example\.com/role']"),
        ("TARGET", r".metadata.labels['workload\.platform\.stackpath\.net/target-name']"),
    )
    container = Container(name="app", image="x", env=(("PLAIN", "1"),), env_from_instance=asked)
    wanted = workload(containers=(container,), labels=(("example.com/role", "edge"),))
    planned = plan(World(network=network(), workloads=(wanted,)))
    order = order_for(planned, HostName(LHR), 7, Verdict())
    assert order.generation == 7
    assert dict(order.instances[1].containers[0].env) == {
        "PLAIN": "1",
        "CITY": "LHR",
        "ME": "web-all-lhr-1",
        "IP": "10.1.0.3",
        "GW": "10.1.0.2",
        "ROLE": "edge",
        "TARGET": "all",
    }


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2", 2000), ("0.5", 500), ("500m", 500), ("1.0005", 1001), (".25", 250)],
)
def test_cpu_is_read_in_thousandths(text: str, amount: int) -> None:
    """Rounded up, so that nobody gets less than asked."""
    assert cpu_millis(text) == amount


@pytest.mark.parametrize(
    ("text", "amount"),
    [("2Gi", 2 << 30), ("512Mi", 512 << 20), ("1G", 10**9), ("100", 100), ("1.5Ki", 1536), ("1k", 1000)],
)
def test_memory_is_read_in_bytes(text: str, amount: int) -> None:
    """Binary and decimal units."""
    assert memory_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "two", "-1", "1Gx", "0", "9" * 30, "1e3", "٣"])
def test_nonsense_amounts_are_refused(text: str) -> None:
    """Neither nothing, nor less, nor more than a 64-bit number holds."""
    for read in (cpu_millis, memory_bytes):
        with pytest.raises(ValueError, match=r"amount|more than nothing"):
            read(text)
