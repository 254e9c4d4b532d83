"""The acceptance steps of StackPath's Terraform provider, replayed: what it sends at each step, and whether its next
plan would be empty.

Bodies are what the provider makes of a configuration. After each step it reads the workload back and plans again: what
it finds must be what it sent, where what is absent counts as zero; what only the API sets, and secrets, it does not
compare. Applying the same configuration once more changes nothing.
"""

import copy
import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.control_world import World
from tests.qcow2 import qcow2

BASE = "/workload/v1/stacks/default/workloads"
ANYCAST = "anycast.platform.stackpath.net"
SIZE = {"requests": {"cpu": "1", "memory": "2Gi"}}


def container(**more: Any) -> dict[str, Any]:
    """A container block: what was not written in it is sent as empty."""
    plain = {"args": [], "command": [], "env": {}, "image": "nginx:latest", "ports": {}, "resources": SIZE}
    return {**plain, "volumeMounts": [], **more}


def port(number: int, protocol: str = "TCP", *, implicit: bool = False) -> dict[str, Any]:
    return {"port": number, "protocol": protocol, "enableImplicitNetworkPolicy": implicit}


def interface(**more: Any) -> dict[str, Any]:
    plain = {"network": "default", "enableOneToOneNat": True, "ipFamilies": [], "assignments": []}
    return {**plain, "subnet": "", "ipv6Subnet": "", **more}


def target(replicas: int, *cities: str, **deployments: Any) -> dict[str, Any]:
    selectors = [{"key": "cityCode", "operator": "in", "values": list(cities or ("AMS",))}]
    wanted = {"minReplicas": replicas, "selectors": selectors, **deployments}
    return {"spec": {"deploymentScope": "cityCode", "deployments": wanted}}


def workload(
    *, containers: dict[str, Any], targets: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    return {
        "name": "My Compute Workload",
        "slug": "my-compute-workload",
        "metadata": {"annotations": annotations or {}, "labels": {}},
        "spec": {
            "containers": containers,
            "networkInterfaces": [interface()],
            "imagePullCredentials": [],
            "volumeClaimTemplates": [],
            "runtime": {},
            **spec,
        },
        "targets": targets,
    }


HTTP, HTTPS = {"http": port(80)}, {"https": port(443)}
PROBE = {"periodSeconds": 60, "successThreshold": 1, "failureThreshold": 4, "initialDelaySeconds": 60}
BY_HTTP = {"httpGet": {"port": 80, "path": "/", "scheme": "HTTP", "httpHeaders": {"content-type": "application/json"}}}
PROBES = {
    "livenessProbe": {**PROBE, "timeoutSeconds": 0, **BY_HTTP},
    "readinessProbe": {**PROBE, "timeoutSeconds": 75, "tcpSocket": {"port": 80}},
}
LOGIN = {"server": "docker.io", "username": "me", "password": "a registry's password", "email": "me@example.net"}
ENV = {
    "PLAIN": {"value": "x"},
    "SECRET": {"secretValue": "hush-hush"},
    "CITY": {"valueFrom": {"instanceFieldRef": {"fieldPath": ".location.cityCode", "optional": False}}},
}
SECURITY = {
    "runAsUser": "1000",
    "runAsGroup": "1000",
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
}
FOR_ALL = {
    "securityContext": {
        "runAsUser": "1000",
        "supplementalGroups": ["2000", "3000"],
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "80"}],
    }
}
SCALES = {"metrics": [{"metric": "cpu", "averageUtilization": 50}]}
LABELS = {"metadata": {"annotations": {"who": "me"}, "labels": {"app": "web", "tier": "edge"}}}

# Each: what the configuration says then. They follow each other on one workload, as the provider's own steps do.
STEPS: dict[str, dict[str, Any]] = {
    "basic": workload(
        containers={"app": container(ports=HTTP, env={"MY_VARIABLE": {"value": "value"}})}, targets={"us": target(1)}
    ),
    "another port, another value, two instances": workload(
        containers={"app": container(ports=HTTP | HTTPS, env={"MY_VARIABLE": {"value": "some value"}})},
        targets={"us": target(2)},
    ),
    "no variable, one port": workload(containers={"app": container(ports=HTTP)}, targets={"us": target(2)}),
    "probes": workload(containers={"app": container(ports=HTTP, **PROBES)}, targets={"us": target(2)}),
    "no probes, a registry's login": workload(
        containers={"app": container()}, targets={"us": target(1)}, imagePullCredentials=[{"dockerRegistry": LOGIN}]
    ),
    "a second container": workload(
        containers={"app": container(), "app-2": container(image="nginx:v1.15.0")}, targets={"us": target(1)}
    ),
    "command and arguments": workload(
        containers={"app": container(command=["/bin/web"], args=["--port", "80"], ports=HTTP)},
        targets={"us": target(1)},
    ),
    "variables of each kind": workload(containers={"app": container(ports=HTTP, env=ENV)}, targets={"us": target(1)}),
    "ports of both protocols, with policies": workload(
        containers={"app": container(ports={"dns": port(53, "UDP", implicit=True), "web": port(80, implicit=True)})},
        targets={"us": target(1)},
    ),
    "securityContext of a container": workload(
        containers={"app": container(securityContext=SECURITY)}, targets={"us": target(1)}
    ),
    "securityContext of all": workload(
        containers={"app": container()}, targets={"us": target(1)}, runtime={"containers": FOR_ALL}
    ),
    "two targets": workload(
        containers={"app": container(ports=HTTP)}, targets={"us": target(1, "JFK", "LAX"), "eu": target(2, "AMS")}
    ),
    "autoscaling": workload(
        containers={"app": container(ports=HTTP)}, targets={"us": target(1, maxReplicas=4, scaleSettings=SCALES)}
    ),
    "no replicas": workload(containers={"app": container(ports=HTTP)}, targets={"us": target(0)}),
    "both families": workload(
        containers={"app": container(ports=HTTP)},
        targets={"us": target(1)},
        networkInterfaces=[interface(ipFamilies=["IPv4", "IPv6"])],
    ),
    "labels and annotations": workload(containers={"app": container(ports=HTTP)}, targets={"us": target(1)}) | LABELS,
}


def zeroless(value: Any) -> Any:
    """As the provider compares: what is empty, zero or false is as good as absent."""
    if isinstance(value, dict):
        less = {key: zeroless(member) for key, member in value.items()}
        return {key: member for key, member in less.items() if member not in (None, "", [], {}) and member is not False}
    if isinstance(value, list):
        return [zeroless(member) for member in value]
    return None if value == 0 and not isinstance(value, bool) else value


def drift(sent: dict[str, Any], found: dict[str, Any]) -> tuple[Any, Any]:
    """Both sides of the provider's next plan; it is empty where they are equal."""
    wanted, read = copy.deepcopy(sent), copy.deepcopy(found)
    for of_the_api in ("id", "stackId", "status"):
        assert read.pop(of_the_api)
    for of_the_api in ("version", "createdAt", "updatedAt"):
        read["metadata"].pop(of_the_api, None)
    wanted["metadata"].pop("version", None)
    read["metadata"].get("annotations", {}).pop(f"{ANYCAST}/subnets", None)
    for made in wanted["spec"]["networkInterfaces"]:
        made["ipFamilies"] = made["ipFamilies"] or ["IPv4"]
    for one in wanted["spec"]["containers"].values():
        one["env"] = {name: value for name, value in one["env"].items() if "secretValue" not in value}
    for name, one in read["spec"].get("containers", {}).items():
        secret = {n for n, v in sent["spec"]["containers"][name]["env"].items() if "secretValue" in v}
        assert all(one["env"].pop(n) == {} for n in secret), "a secret is read back"
    for pull in wanted["spec"]["imagePullCredentials"]:
        pull["dockerRegistry"].pop("password")
    return zeroless(wanted), zeroless(read)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("terraform")) as made:
        yield made


def read(world: World, ref: str) -> dict[str, Any]:
    found: dict[str, Any] = world.get(f"{BASE}/{ref}")["workload"]
    return found


def test_each_step_leaves_an_empty_plan_and_applied_twice_changes_nothing(world: World) -> None:
    """One workload goes through all of them, by PUT with the version that was read, as the provider updates."""
    made: dict[str, Any] = {}
    for name, sent in STEPS.items():
        body = copy.deepcopy(sent)
        if not made:
            answer = world.call("POST", BASE, json={"workload": body})
        else:
            body["metadata"]["version"] = made["metadata"]["version"]
            answer = world.call("PUT", f"{BASE}/{made['id']}", json={"workload": body})
        assert answer.status_code == 200, (name, answer.text)
        found = read(world, answer.json()["workload"]["id"])
        assert found == answer.json()["workload"], name
        wanted, shown = drift(sent, found)
        assert shown == wanted, name
        assert int(found["metadata"]["version"]) == int(made["metadata"]["version"]) + 1 if made else 1, name
        assert "maxReplicas" in str(sent) or "maxReplicas" not in str(found), name
        again = copy.deepcopy(sent)
        again["metadata"]["version"] = found["metadata"]["version"]
        same = world.send("PUT", f"{BASE}/{found['id']}", {"workload": again})["workload"]
        assert same == found, f"{name}: the same configuration once more"
        made = found
    empty: list[dict[str, Any]] = [
        {},
        {"metadata": {}},
        {"spec": {}},
        {"metadata": {"version": made["metadata"]["version"]}},
    ]
    for patch in empty:
        assert world.send("PATCH", f"{BASE}/{made['id']}", {"workload": patch})["workload"] == made, patch


def test_a_workload_with_an_anycast_address_is_planned_empty_and_destroyed(world: World) -> None:
    """The address is in the answer to the creation; after the 204 the provider accepts 404, or deleteRequestedAt."""
    sent = workload(
        containers={"app": container(ports=HTTP)}, targets={"us": target(1)}, annotations={ANYCAST: "true"}
    ) | {"name": "anycast", "slug": "anycast"}
    made = world.send("POST", BASE, {"workload": copy.deepcopy(sent)})["workload"]
    address, length = made["metadata"]["annotations"][f"{ANYCAST}/subnets"].split("/")
    assert address.count(".") == 3 and length == "32"
    wanted, shown = drift(sent, read(world, "anycast"))
    assert shown == wanted
    assert world.call("DELETE", f"{BASE}/anycast").status_code == 204
    left = world.call("GET", f"{BASE}/anycast")
    assert left.status_code == 404 or left.json()["workload"]["metadata"]["deleteRequestedAt"]
    world.settle()
    assert world.call("GET", f"{BASE}/anycast").status_code == 404


def claim(size: str) -> dict[str, Any]:
    return {"name": "volume", "slug": "volume", "metadata": {}, "spec": {"resources": {"requests": {"storage": size}}}}


def test_a_volume_is_claimed_grows_and_is_planned_empty(world: World) -> None:
    """What a claim has of the API, its phase and its metadata, the provider does not compare."""
    made: dict[str, Any] = {}
    for size in ("10Gi", "20Gi"):
        sent = workload(
            containers={"app": container(volumeMounts=[{"slug": "volume", "mountPath": "/var/log"}])},
            targets={"us": target(1)},
            volumeClaimTemplates=[claim(size)],
        ) | {"name": "With volume", "slug": "with-volume"}
        if made:
            sent["metadata"]["version"] = made["metadata"]["version"]
        method, path = ("PUT", f"{BASE}/{made['id']}") if made else ("POST", BASE)
        answer = world.call(method, path, json={"workload": copy.deepcopy(sent)})
        assert answer.status_code == 200, answer.text
        made = read(world, "with-volume")
        (told,) = made["spec"]["volumeClaimTemplates"]
        assert told["phase"] == "PENDING" and told["metadata"] == {} and told["spec"], "clients look into both unasked"
        (shown,) = copy.deepcopy(made)["spec"]["volumeClaimTemplates"]
        del shown["phase"]
        wanted, found = drift(sent, {**made, "spec": {**made["spec"], "volumeClaimTemplates": [shown]}})
        assert found == wanted
    assert world.call("DELETE", f"{BASE}/with-volume").status_code == 204


IMAGES = "/workload/v1/stacks/default/images"


def machine(user_data: str) -> dict[str, Any]:
    """A workload of one virtual machine. `user_data`: base64."""
    made = {"image": "default/debian:12", "ports": HTTP, "resources": SIZE, "userData": user_data, "volumeMounts": []}
    sent = workload(containers={}, targets={"us": target(1)}) | {"name": "vm", "slug": "vm"}
    sent["spec"]["virtualMachines"] = {"app": made}
    return sent


def test_a_virtual_machine_needs_its_image_and_is_then_planned_empty(world: World) -> None:
    """Without the image nothing is made, and the message names the field; with it, and with new user data, what is read
    is what was sent.
    """
    answer = world.call("POST", BASE, json={"workload": machine("")})
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"].startswith("spec.virtualMachines.app.image: there is no image default/debian:12 ")
    assert world.call("GET", f"{BASE}/vm").status_code == 404
    disk = qcow2()
    part = {"size": str(len(disk)), "sha256": hashlib.sha256(disk).hexdigest()}
    world.send("POST", f"{IMAGES}/debian/12", {"image": {"parts": {"disk": part}}})
    parts = "/anypop/v1/stacks/default/images/debian/12/parts/disk?offset=0"
    assert world.call("PUT", parts, content=disk).status_code == 200
    world.wait_until(lambda: world.get(f"{IMAGES}/debian/12")["image"]["status"] == "READY", "the image is checked")
    made: dict[str, Any] = {}
    for user_data in ("I2Nsb3VkLWNvbmZpZwo=", "I2Nsb3VkLWNvbmZpZwpob3N0bmFtZTogYQo="):
        sent = machine(user_data)
        if made:
            sent["metadata"]["version"] = made["metadata"]["version"]
        method, path = ("PUT", f"{BASE}/{made['id']}") if made else ("POST", BASE)
        answer = world.call(method, path, json={"workload": copy.deepcopy(sent)})
        assert answer.status_code == 200, answer.text
        made = read(world, "vm")
        wanted, shown = drift(sent, made)
        assert shown == wanted
    assert made["metadata"]["version"] == "2"
    assert world.call("DELETE", f"{BASE}/vm").status_code == 204


POLICIES = "/ipam/v1/stacks/default/network_policies"
WEB = [{"key": "workload.platform.stackpath.net/workload-slug", "operator": "in", "values": ["my-compute-workload"]}]


def policy(priority: int, description: str = "", **spec: Any) -> dict[str, Any]:
    """As the provider sends one: lists that were not written are empty."""
    plain = {"instanceSelectors": [], "networkSelectors": [], "policyTypes": ["INGRESS"], "ingress": [], "egress": []}
    return {
        "name": "My network policy",
        "slug": "my-network-policy",
        "description": description,
        "metadata": {"annotations": {}, "labels": {}},
        "spec": {**plain, "priority": priority, **spec},
    }


def block(cidr: str, *but: str) -> dict[str, Any]:
    return {"ipBlock": [{"cidr": cidr, "except": list(but)}], "instanceSelectors": [], "networkSelectors": []}


def rule(action: str, protocols: dict[str, Any], **of: Any) -> dict[str, Any]:
    return {"action": action, "description": "", "protocols": protocols, **of}


TCP = {"tcp": {"destinationPorts": ["80", "8000-8080"], "sourcePorts": []}}
POLICY_STEPS: dict[str, dict[str, Any]] = {
    "one rule": policy(20000, ingress=[rule("ALLOW", TCP, **{"from": block("0.0.0.0/0")})]),
    "another priority, a description, an exception": policy(
        20001, "who may come", ingress=[rule("BLOCK", TCP, **{"from": block("10.0.0.0/8", "10.1.0.0/16")})]
    ),
    "selected instances, both directions": policy(
        20001,
        instanceSelectors=WEB,
        policyTypes=["INGRESS", "EGRESS"],
        ingress=[
            rule("ALLOW", {"udp": {"destinationPorts": ["53"], "sourcePorts": []}}, **{"from": block("0.0.0.0/0")})
        ],
        egress=[rule("ALLOW", {"icmp": {}}, to=block("192.0.2.0/24"))],
    ),
    "from instances, each other protocol": policy(
        64000,
        ingress=[
            rule("ALLOW", {name: {}}, **{"from": {"ipBlock": [], "instanceSelectors": WEB, "networkSelectors": []}})
            for name in ("ah", "esp", "gre", "icmp")
        ]
        + [rule("ALLOW", {"tcpUdp": {"destinationPorts": ["443"], "sourcePorts": ["1024-65535"]}})],
    ),
    "no rules: nothing comes in": policy(64000),
}


def test_each_step_of_a_network_policy_leaves_an_empty_plan(world: World) -> None:
    """Created, changed by PUT, applied twice, destroyed; the metadata of one that has none holds no empty members."""
    made: dict[str, Any] = {}
    for name, sent in POLICY_STEPS.items():
        method, path = ("PUT", f"{POLICIES}/{made['id']}") if made else ("POST", POLICIES)
        answer = world.call(method, path, json={"networkPolicy": copy.deepcopy(sent)})
        assert answer.status_code == 200, (name, answer.text)
        found = world.get(f"{POLICIES}/{answer.json()['networkPolicy']['id']}")["networkPolicy"]
        assert found == answer.json()["networkPolicy"], name
        assert not {"labels", "annotations"} & found["metadata"].keys(), name
        less = {key: value for key, value in found.items() if key not in ("id", "stackId", "metadata")}
        wanted = {key: value for key, value in sent.items() if key != "metadata"}
        assert zeroless(less) == zeroless(wanted), name
        for way in ("ingress", "egress"):  # what a protocol holds may be nothing, and means all of it
            told = [list(one["protocols"]) for one in found["spec"].get(way, ())]
            assert told == [list(one["protocols"]) for one in sent["spec"][way]], name
        assert world.send("PUT", f"{POLICIES}/{found['id']}", {"networkPolicy": sent})["networkPolicy"] == found, name
        made = found
    assert world.call("DELETE", f"{POLICIES}/{made['id']}").status_code == 204
    assert world.call("GET", f"{POLICIES}/{made['id']}").status_code == 404


NETWORKS = "/ipam/v1/stacks/default/networks"


def test_each_step_of_a_network_and_its_subnet_leaves_an_empty_plan(world: World) -> None:
    """Created, labelled, applied twice, destroyed. What the provider does not write down is not compared; a subnet lies
    outside of its network's own.
    """
    plain = {"name": "My network", "slug": "my-network", "rootSubnet": "10.0.0.0/8", "ipv6Subnet": "", "ipFamilies": []}
    made: dict[str, Any] = {}
    steps: list[dict[str, dict[str, str]]] = [
        {},
        {"labels": {"role": "db"}, "annotations": {"a": "b"}},
        {"labels": {}, "annotations": {}},
    ]
    for metadata in steps:
        method, path = ("PATCH", f"{NETWORKS}/{made['id']}") if made else ("POST", NETWORKS)
        sent = {**plain, "metadata": copy.deepcopy(metadata)}
        answer = world.send(method, path, sent)["network"]
        found = world.get(f"{NETWORKS}/{answer['id']}")["network"]
        assert found == answer and found["virtualNetworkIdentifier"] > 0
        assert all(found[key] == sent[key] for key in ("name", "slug", "rootSubnet"))
        kept = {key: value for key, value in found["metadata"].items() if key in ("labels", "annotations")}
        assert kept == {key: value for key, value in metadata.items() if value}
        assert not made or int(found["metadata"]["version"]) == int(made["metadata"]["version"]) + 1
        assert world.send("PATCH", f"{NETWORKS}/{found['id']}", sent)["network"] == found
        made = found
    subnets = f"/ipam/v1alpha/stacks/default/networks/{made['id']}/subnets"
    one: dict[str, Any] = {}
    for name in ("My subnet", "Another name"):
        sent = {"name": name, "slug": "my-subnet", "prefix": "11.0.0.0/9", "metadata": {"labels": {}}}
        method, path = ("PUT", f"{subnets}/{one['id']}") if one else ("POST", subnets)
        answer = world.send(method, path, {"subnet": sent})["subnet"]
        found = world.get(f"{subnets}/{answer['id']}")["subnet"]
        assert found == answer and (found["name"], found["prefix"]) == (name, "11.0.0.0/9")
        assert not {"labels", "annotations"} & found["metadata"].keys()
        assert world.send("PUT", f"{subnets}/{found['id']}", {"subnet": sent})["subnet"] == found
        one = found
    assert world.call("DELETE", f"{subnets}/{one['id']}").status_code == 204
    assert world.call("GET", f"{subnets}/{one['id']}").status_code == 404
    assert world.call("DELETE", f"{NETWORKS}/{made['id']}").status_code == 204
    assert world.call("GET", f"{NETWORKS}/{made['id']}").status_code == 404


IPAM = "/ipam/v1/stacks/default"
UNKNOWN = [{"key": "cityCode", "operator": "in", "values": ["EC4LAB01"]}]
KEPT = {"action": "RETAIN"}


def address(**spec: Any) -> dict[str, Any]:
    plain = {"allocationClass": "stackpath-edge/unicast", "ipFamily": "IPv4", "prefixLength": 32, "reclaimPolicy": KEPT}
    return {**plain, **spec}


def kept(name: str, label: str, spec: dict[str, Any]) -> dict[str, Any]:
    """As the provider sends one: an empty version, and what was not written empty."""
    metadata = {"annotations": {}, "labels": {"app": label}, "version": ""}
    return {"name": name, "slug": name, "metadata": metadata, "spec": spec}


def waited(world: World, operation: dict[str, Any]) -> None:
    """It takes the name apart, and asks until it is done."""
    name = re.findall(r"stacks/[a-f0-9\-]+/operations/(operation-[a-f0-9\-]+)", operation["name"])[0]
    for path in (name, f"{name}/wait"):
        told = world.get(f"{IPAM}/operations/{path}")
        assert told["done"] is True and "error" not in told


@pytest.mark.parametrize(
    ("kind", "sent", "read_back"),
    [
        (
            ("allocations", "allocation", "1"),
            kept("test-tf-network-allocation-1", "a-selector", address(selectors=UNKNOWN)),
            address(selectors=UNKNOWN),
        ),
        (
            ("allocation_claims", "allocationClaim", "2"),
            kept(
                "test-tf-network-allocationclaim-1",
                "a-selector",
                {
                    "ipFamily": "IPv4",
                    "prefixLength": 32,
                    "reclaimPolicy": KEPT,
                    "allocation": {"template": {"spec": address(selectors=UNKNOWN)}},
                },
            ),
            {
                "ipFamily": "IPv4",
                "prefixLength": 32,
                "reclaimPolicy": KEPT,
                "allocation": {
                    "template": {"name": "test-tf-network-allocationclaim-1", "spec": address(selectors=UNKNOWN)}
                },
            },
        ),
    ],
)
def test_an_allocation_and_a_claim_are_planned_empty_and_destroyed(
    world: World, kind: tuple[str, str, str], sent: dict[str, Any], read_back: dict[str, Any]
) -> None:
    """In a city that is no PoP, as the acceptance steps have it. The whole spec is compared; then an update of what may
    be updated, and an import.
    """
    (path, member, version), slug = kind, sent["slug"]
    base = f"{IPAM}/{path}"
    waited(world, world.send("POST", base, {member: sent}))
    found = world.get(f"{base}/{slug}")[member]
    assert (found["name"], found["slug"], found["metadata"]["version"]) == (slug, slug, version)
    assert found["metadata"]["labels"] == {"app": "a-selector"} and "annotations" not in found["metadata"]
    assert found["spec"] == read_back and found["metadata"]["resourceName"]
    assert all(c["type"] and c["status"].startswith("CONDITION_STATUS_") for c in found["status"]["conditions"])
    change = {"name": slug, "metadata": sent["metadata"], "spec": {"reclaimPolicy": KEPT}}
    # of a claim the provider sends nothing at all
    waited(world, world.send("PATCH", f"{base}/{slug}", {member: change if member == "allocation" else {}}))
    assert world.get(f"{base}/{slug}")[member] == found, "the same configuration once more"
    waited(world, world.send("DELETE", f"{base}/{slug}"))
    assert world.call("GET", f"{base}/{slug}").status_code == 404


def assignment(mode: str, kind: str, family: str) -> dict[str, Any]:
    length = 32 if family == "IPv4" else 128
    base = {"ipFamily": family, "prefixLength": length, "reclaimPolicy": {"action": "DELETE"}}
    template = {"name": "", "slug": "", "spec": {**base, "allocationClass": f"stackpath-edge/{kind}"}}
    claimed = {"name": "", "slug": "", "metadata": {}, "spec": {**base, "allocation": {"template": template}}}
    slug = f"{mode.lower().replace('_', '-')}-{family[2:].lower()}"
    return {"slug": slug, "mode": mode, "allocationClaimTemplate": claimed}


FOUR = [
    assignment(mode, kind, family)
    for family in ("IPv4", "IPv6")
    for mode, kind in (("PRIMARY", "private"), ("ONE_TO_ONE_NAT", "unicast"))
]
"""Those of the provider's example, which are those that there are without any."""


def assigned(*assignments: dict[str, Any]) -> dict[str, Any]:
    return workload(
        containers={"app": container(ports=HTTP)},
        targets={"us": target(1)},
        networkInterfaces=[interface(ipFamilies=["IPv4", "IPv6"], assignments=list(assignments))],
    ) | {"name": "assigned", "slug": "assigned"}


def test_without_assignments_an_instance_has_the_four_implicit_ones(world: World) -> None:
    """They are not written into the document, or the next plan would not be empty. To declare them afterwards is to say
    what is so already: nobody is made anew, and no address changes.
    """
    sent = assigned()
    world.send("POST", BASE, {"workload": copy.deepcopy(sent)})
    wanted, shown = drift(sent, read(world, "assigned"))
    assert shown == wanted
    world.settle()
    (before,) = world.instances("assigned")
    addresses = ("ipAddress", "externalIpAddress", "ipv6Address", "externalIpv6Address")
    assert all(before[one] for one in addresses)
    assert not world.get(f"{IPAM}/allocation_claims")["results"], "what goes with its instance needs no claim"
    version = read(world, "assigned")["metadata"]["version"]
    said = assigned(*FOUR) | {"metadata": {"version": version}}
    world.send("PUT", f"{BASE}/assigned", {"workload": said})
    world.settle()
    (after,) = world.instances("assigned")
    assert [after[one] for one in ("id", *addresses)] == [before[one] for one in ("id", *addresses)]
    claims = world.get(f"{IPAM}/allocation_claims")["results"]
    assert {c["status"]["prefix"].partition("/")[0] for c in claims} == {before[one] for one in addresses}
    assert {c["spec"]["reclaimPolicy"]["action"] for c in claims} == {"DELETE"}
    assert world.call("DELETE", f"{BASE}/assigned").status_code == 204
    world.settle()
    assert not world.get(f"{IPAM}/allocation_claims")["results"]


def test_assignments_are_planned_empty(world: World) -> None:
    sent = assigned(*FOUR)
    world.send("POST", BASE, {"workload": copy.deepcopy(sent)})
    wanted, shown = drift(sent, read(world, "assigned"))
    assert shown == wanted
    world.settle()
    assert len(world.get(f"{IPAM}/allocation_claims")["results"]) == 4
    assert world.call("DELETE", f"{BASE}/assigned").status_code == 204
    world.settle()
    assert not world.get(f"{IPAM}/allocation_claims")["results"]
