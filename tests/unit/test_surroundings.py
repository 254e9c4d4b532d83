"""What a workload asks for around its processes, from the request to the files and limits that a container gets."""

from dataclasses import replace
from ipaddress import ip_address
from typing import Any

import pytest

from anypop.agent.act.instances import own_files
from anypop.agent.act.instances.specification import body_for
from anypop.agent.decide.steps import CreateContainer
from anypop.agent.naming import RESOLVER4, RESOLVER6
from anypop.model.codec import to_json
from anypop.model.confinement import Confinement, Security
from anypop.model.errors import Invalid
from anypop.model.names import CityCode, StackId, WorkloadId, host_label
from anypop.model.order import Containers, InstanceOrder
from anypop.model.order_text import OrderWriter
from anypop.model.surroundings import HostAlias, Login, Resolving, Surroundings, login_for, server_of
from anypop.model.workload import Container, Workload
from anypop.plan.parse import parse
from tests.agent_lab import instance, web
from tests.control_world import a_body

LONG = "a" * 63


def read(slug: str = "fun", *, spec: dict[str, Any] | None = None, **container: Any) -> Workload:
    """A workload out of a request. `spec`: more of it; `container`: more of its container."""
    body = a_body(slug, **container)["workload"]
    body["spec"] |= spec or {}
    cities = (CityCode("AMS"), CityCode("LHR"))
    made = parse(body, workload_id=WorkloadId("w"), stack_id=StackId("s"), stack_slug="stack", cities=cities)
    assert not made.unacted
    return made.workload


def refused(*, spec: dict[str, Any] | None = None, **container: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as error:
        read(spec=spec, **container)
    return {problem.path: problem.message for problem in error.value.problems}


def running(**more: Any) -> dict[str, Any]:
    return {"runtime": {"containers": more}}


def made(container: Container, confinement: Confinement = Confinement.OWN_USERS) -> dict[str, Any]:
    """What Podman is told."""
    one = replace(instance(0), payload=Containers(containers=(container,)))
    step = CreateContainer(instance=one, container=container, lane="")
    return body_for(step, prefix="p", pop="LHR", name="n", limits=(), confinement=confinement)


@pytest.mark.parametrize(
    ("asked", "sure", "most"),
    [
        ({}, (1000, 2 << 30), (1000, 2 << 30)),
        ({"requests": {"cpu": "2", "memory": "1Gi"}}, (2000, 1 << 30), (2000, 1 << 30)),
        ({"limits": {"cpu": "2", "memory": "1Gi"}}, (2000, 1 << 30), (2000, 1 << 30)),
        ({"requests": {"cpu": "500m"}, "limits": {"cpu": "2", "memory": "4Gi"}}, (500, 4 << 30), (2000, 4 << 30)),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "3Gi"}}, (1000, 1 << 30), (1000, 3 << 30)),
        ({"limits": {"cpu": "250m"}}, (250, 2 << 30), (250, 2 << 30)),
    ],
)
def test_requests_and_limits_are_each_as_they_are(
    asked: dict[str, Any], sure: tuple[int, int], most: tuple[int, int]
) -> None:
    """One alone is the other as well; where both are told there is room between them."""
    (container,) = read(resources=asked).containers
    assert (container.cpu_millis, container.memory_bytes) == sure
    assert (container.most_cpu_millis, container.most_memory_bytes) == most


def test_a_limit_below_its_request_is_refused() -> None:
    """Each with its path."""
    asked = {"requests": {"cpu": "2", "memory": "2Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    assert refused(resources=asked) == {
        "spec.containers.web.resources.limits.cpu": "is 1, less than the request, 2",
        "spec.containers.web.resources.limits.memory": "is 1Gi, less than the request, 2Gi",
    }


def test_what_a_container_is_sure_of_is_its_share_and_its_limit_the_end() -> None:
    """Quota and memory by the limit, shares and what is kept for it by the request; who may take more goes first."""
    told = made(web(cpu_millis=500, memory_bytes=1 << 20, cpu_limit_millis=2000, memory_limit_bytes=3 << 20))
    assert told["resource_limits"]["cpu"] == {"quota": 200_000, "period": 100_000, "shares": 512}
    assert told["resource_limits"]["memory"] == {"limit": 3 << 20, "swap": 3 << 20, "reservation": 1 << 20}
    assert told["oom_score_adj"] > 0
    assert "oom_score_adj" not in made(web())
    assert made(web(cpu_millis=1))["resource_limits"]["cpu"] == {"quota": 1000, "period": 100_000, "shares": 2}
    older = made(web(), Confinement.OLDER)
    assert older["resource_limits"] == {"cpu": {"quota": 100_000, "period": 100_000}, "memory": {"limit": 64 << 20}}
    assert older["hostadd"]
    assert "mounts" not in older


def test_a_working_directory_is_a_whole_path() -> None:
    """Made where the image has none."""
    (container,) = read(workingDir="/srv/app").containers
    assert {"work_dir": "/srv/app", "create_working_dir": True}.items() <= made(container).items()
    assert "work_dir" not in made(web())
    assert "whole path" in refused(workingDir="srv")["spec.containers.web.workingDir"]


def test_aliases_and_resolving_are_read_whole() -> None:
    """As they are written."""
    asked = running(
        hostAliases=[
            {"ip": "192.0.2.7", "hostnames": ["db", "db.example."]},
            {"ip": "2001:db8::7", "hostnames": ["six"]},
        ],
        dnsConfig={
            "nameservers": ["192.0.2.53"],
            "searches": ["example.com", "_tcp.example"],
            "options": [{"name": "ndots", "value": "3"}, {"name": "rotate"}],
        },
    )
    assert read(spec=asked).around == Surroundings(
        aliases=(
            HostAlias(address=ip_address("192.0.2.7"), names=("db", "db.example.")),
            HostAlias(address=ip_address("2001:db8::7"), names=("six",)),
        ),
        resolving=Resolving(
            nameservers=(ip_address("192.0.2.53"),),
            searches=("example.com", "_tcp.example"),
            options=(("ndots", "3"), ("rotate", "")),
        ),
    )


@pytest.mark.parametrize(
    ("asked", "where", "why"),
    [
        ({"hostAliases": [{"ip": "db", "hostnames": ["a"]}]}, "hostAliases[0].ip", "no IP address"),
        ({"hostAliases": [{"ip": "fe80::1%eth0", "hostnames": ["a"]}]}, "hostAliases[0].ip", "no IP address"),
        ({"hostAliases": [{"ip": "192.0.2.1"}]}, "hostAliases[0].hostnames", "at least one"),
        ({"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a\nb"]}]}, "hostAliases[0].hostnames[0]", "no name"),
        ({"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["a b"]}]}, "hostAliases[0].hostnames[0]", "no name"),
        ({"dnsConfig": {"nameservers": ["dns.example"]}}, "dnsConfig.nameservers[0]", "no IP address"),
        ({"dnsConfig": {"nameservers": ["192.0.2.1"] * 4}}, "dnsConfig.nameservers", "more than 3"),
        ({"dnsConfig": {"searches": ["-"]}}, "dnsConfig.searches[0]", "no name"),
        ({"dnsConfig": {"options": [{"name": "speed"}]}}, "dnsConfig.options[0].name", "no option of resolvers"),
        ({"dnsConfig": {"options": [{"name": "ndots"}]}}, "dnsConfig.options[0].value", "15 at most"),
        ({"dnsConfig": {"options": [{"name": "ndots", "value": "16"}]}}, "dnsConfig.options[0].value", "15 at most"),
        ({"dnsConfig": {"options": [{"name": "rotate", "value": "1"}]}}, "dnsConfig.options[0].value", "no value"),
    ],
)
def test_what_no_resolver_would_take_is_refused(asked: dict[str, Any], where: str, why: str) -> None:
    """By its path; nothing breaks a line of a file."""
    assert why in refused(spec=running(**asked))[f"spec.runtime.containers.{where}"]


def around(**more: Any) -> InstanceOrder:
    one = replace(instance(0), hosts_domain="stack.edgeengine.internal")
    return replace(one, payload=replace(one.payload, around=Surroundings(**more)))


def test_hosts_has_the_instance_and_its_aliases_and_nothing_of_the_host() -> None:
    """By its short and its long name, in both families."""
    alias = HostAlias(address=ip_address("192.0.2.7"), names=("db", "db.example"))
    assert own_files.hosts_text(around(aliases=(alias,))).splitlines() == [
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "10.64.0.1\tweb-eu-lhr-0.stack.edgeengine.internal web-eu-lhr-0",
        "fd00:64::1\tweb-eu-lhr-0.stack.edgeengine.internal web-eu-lhr-0",
        "192.0.2.7\tdb db.example",
    ]


def test_resolv_conf_has_the_workloads_servers_or_the_hosts_resolver() -> None:
    """With the stack's names behind the searches that somebody asked for, unless other servers are asked."""
    own = f"nameserver {RESOLVER4}\nnameserver {RESOLVER6}\n"
    assert own_files.resolv_conf_text(around()) == own + "search stack.edgeengine.internal\n"
    assert own_files.resolv_conf_text(replace(around(), hosts_domain="")) == own
    found = own_files.resolv_conf_text(around(resolving=Resolving(searches=("a.example",))))
    assert found == own + "search a.example stack.edgeengine.internal\n"
    asked = Resolving(
        nameservers=(ip_address("192.0.2.1"),), searches=("a.example", "b"), options=(("ndots", "2"), ("rotate", ""))
    )
    told = own_files.resolv_conf_text(around(resolving=asked))
    assert told == "nameserver 192.0.2.1\nsearch a.example b\noptions ndots:2 rotate\n"


def test_a_root_that_cannot_be_written_has_files_that_cannot() -> None:
    """Those beside its image as well."""
    for read_only, way in ((True, "ro"), (False, "rw")):
        mounts = made(web(security=Security(read_only=read_only)))["mounts"]
        found = {mount["destination"]: mount["options"][-1] for mount in mounts if mount["type"] == "bind"}
        assert found == {"/etc/hosts": way, "/etc/resolv.conf": way}


def test_a_slug_of_63_letters_is_taken_and_a_host_name_made_of_it() -> None:
    """The name stays whole; the label is its beginning and a hash, and two of them differ."""
    workload = read(LONG)
    assert workload.slug == LONG
    names = [f"{LONG}-eu-lhr-{n}" for n in range(200)]
    labels = {host_label(name) for name in names}
    assert len(labels) == 200
    assert all(len(label) == 63 and label.startswith("a" * 54 + "-") for label in labels)
    assert host_label("web-eu-lhr-0") == "web-eu-lhr-0"
    assert host_label("a" * 53 + "-" * 30)[53] == "-" != host_label("a" * 53 + "-" * 30)[54]
    one = instance(0, name=names[0])
    hosts = own_files.hosts_text(one).splitlines()
    assert f"10.64.0.1\t{host_label(names[0])} {names[0]}" in hosts
    step = CreateContainer(instance=one, container=web(), lane="")
    told = body_for(step, prefix="p", pop="LHR", name="n", limits=())
    assert (told["hostname"], told["env"]["ANYPOP_INSTANCE"]) == (host_label(names[0]), names[0])


@pytest.mark.parametrize(
    ("told", "server"),
    [
        ("", "docker.io"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        ("https://Registry.example:5000/v2/", "registry.example:5000"),
        ("registry.example/team/", "registry.example/team"),
        ("http://[2001:db8::1]:5000", "[2001:db8::1]:5000"),
    ],
)
def test_a_registry_is_known_however_it_is_written(told: str, server: str) -> None:
    """As images are named by it."""
    assert server_of(told) == server


@pytest.mark.parametrize(
    ("image", "who"),
    [
        ("nginx", "hub"),
        ("me/app:1", "hub"),
        ("docker.io/library/nginx", "hub"),
        ("index.docker.io/me/app", "hub"),
        ("registry.example/web:1", "any"),
        ("registry.example/team/web:1", "team"),
        ("registry.example/teams/web:1", "any"),
        ("registry.example:5000/web:1", None),
        ("other.example/web", None),
    ],
)
def test_a_password_goes_to_its_registry_alone(image: str, who: str | None) -> None:
    """To the one that tells most of the name."""
    logins = [
        Login(server=server, username=user, password="hush")
        for server, user in (("docker.io", "hub"), ("registry.example", "any"), ("registry.example/team", "team"))
    ]
    found = login_for(image, logins)
    assert (found.username if found is not None else None) == who


def test_a_registrys_password_is_sealed_in_an_order_and_never_printed() -> None:
    """It is a secret as an environment's are."""
    login = Login(server="registry.example", username="me", password="open sesame")
    order = around(logins=(login,))
    assert b"sesame" in to_json(order)  # the control: sent to the host that pulls
    assert "sesame" not in OrderWriter(conceal=lambda whose, secret: f"sealed for {whose}").instance(order)
    assert "sesame" not in repr(order)


@pytest.mark.parametrize(
    ("registry", "where"),
    [
        ({"server": "a b", "username": "me", "password": "x"}, "server"),
        ({"server": "registry.example:5000:1", "username": "me", "password": "x"}, "server"),
        ({"username": "m:e", "password": "x"}, "username"),
        ({"username": "m\ne", "password": "x"}, "username"),
    ],
)
def test_a_login_that_cannot_be_one_is_refused(registry: dict[str, str], where: str) -> None:
    """By its path."""
    asked = {"imagePullCredentials": [{"dockerRegistry": registry}]}
    assert f"spec.imagePullCredentials[0].dockerRegistry.{where}" in refused(spec=asked)
