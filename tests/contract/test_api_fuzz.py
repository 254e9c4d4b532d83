"""Whatever stands in place of a part of a workload, the answer is a workload or a refusal, never an error of our
own.
"""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.control_world import World, a_body

BASE = "/workload/v1/stacks/default/workloads"
PROBE = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 5}
FULL = a_body(
    env={
        "A": {"value": "1"},
        "B": {"secretValue": "x"},
        "C": {"valueFrom": {"instanceFieldRef": {"fieldPath": ".name"}}},
    },
    readinessProbe=PROBE,
    livenessProbe={"tcpSocket": {"port": 80}},
    command=["a"],
    securityContext={"runAsUser": "0", "capabilities": {"add": [], "drop": ["ALL"]}},
)
FULL["workload"]["spec"]["imagePullCredentials"] = [
    {"dockerRegistry": {"server": "r.example", "username": "me", "password": "p"}}
]
FULL["workload"]["spec"]["runtime"] = {
    "containers": {
        "hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a"]}],
        "dnsConfig": {"options": [{"name": "ndots", "value": "1"}]},
    }
}
FULL["workload"]["targets"]["eu"]["spec"]["deployments"] |= {
    "maxReplicas": 3,
    "scaleSettings": {"metrics": [{"metric": "cpu", "averageUtilization": 50}]},
}
STRANGE = st.one_of(
    st.sampled_from(
        [None, "", "0x10", "-1", "1e9", ".[", "\x00", "a b", [], {}, [None], {"": {}}, 2**63, 10**30, 1e300, True]
    ),
    st.integers(),
    st.text(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.text(max_size=3),
        lambda c: st.lists(c) | st.dictionaries(st.text(max_size=3), c),
        max_leaves=5,
    ),
)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield from _paths(member, (*path, key))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("fuzz")) as made:
        yield made


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.sampled_from([p for p in _paths(FULL) if len(p) > 1]), strange=STRANGE)
def test_nothing_strange_in_a_body_is_an_error_of_ours(world: World, path: tuple[str | int, ...], strange: Any) -> None:
    """A creation answers 200, 400 or 409; a 400 names fields; what was created can be shown, sent back as it is
    shown, and deleted.
    """
    body = copy.deepcopy(FULL)
    part: Any = body
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = strange
    response = world.call("POST", BASE, json=body)
    assert response.status_code in (200, 400, 409), response.text
    if response.status_code == 200:
        made = response.json()["workload"]
        slug = made["slug"]
        world.instances(slug)
        again = world.call("PUT", f"{BASE}/{slug}", json={"workload": made})
        assert again.status_code == 200, again.text
        assert {key: again.json()["workload"].get(key) for key in ("spec", "targets", "name", "slug")} == {
            key: made.get(key) for key in ("spec", "targets", "name", "slug")
        }
        assert world.call("DELETE", f"{BASE}/{slug}").status_code == 204
        world.settle()
