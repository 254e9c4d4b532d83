"""Where images may come from: what a name says, and which addresses nobody is led to."""

from ipaddress import ip_address

import pytest

from anypop.model.confinement import InstanceRules, problems
from anypop.model.registries import domain_of, host_and_port, is_listed, literal_refusal, refusal
from tests.unit.test_parse import APP, put, terraform
from tests.unit.test_security import parse_with


@pytest.mark.parametrize(
    ("image", "domain"),
    [
        ("nginx", "docker.io"),
        ("library/nginx:1", "docker.io"),
        ("example/web@sha256:ab", "docker.io"),
        ("registry.example/web:1", "registry.example"),
        ("registry.example:5000/team/web", "registry.example:5000"),
        ("localhost/web", "localhost"),
        ("[::1]:5000/web", "[::1]:5000"),
        ("127.1/web", "127.1"),
    ],
)
def test_a_reference_tells_its_registry(image: str, domain: str) -> None:
    """As Docker reads it."""
    assert domain_of(image) == domain


def test_hosts_and_ports() -> None:
    """IPv6 in brackets, ports where there are any, no difference by case or by a last dot."""
    assert host_and_port("[::1]:5000") == ("::1", 5000)
    assert host_and_port("[2001:db8::1]") == ("2001:db8::1", None)
    assert host_and_port("2001:db8::1") == ("2001:db8::1", None)
    assert host_and_port("Registry.Example.:443") == ("registry.example", 443)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "100.64.0.1", "169.254.169.254",
        "169.254.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1",
        "::", "::1", "fe80::1", "fc00::1", "fd00:64::1", "ff02::1", "2001:db8::1",
        # IPv4 inside IPv6: mapped, 6to4, NAT64
        "::ffff:127.0.0.1", "::ffff:169.254.169.254", "2002:7f00:1::", "2002:a9fe:a9fe::", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
    ],
)  # fmt: skip
def test_no_image_comes_from_an_address_that_is_not_public(address: str) -> None:
    """Loopback, link-local, the metadata address, private, shared, reserved; also inside IPv6."""
    assert refusal(ip_address(address))


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_images_come_from_public_addresses(address: str) -> None:
    """The control of the test above."""
    assert not refusal(ip_address(address))


def test_the_operators_list_counts_by_host_and_port() -> None:
    """A host alone stands for all its ports."""
    assert is_listed("10.0.0.5", 5000, ["10.0.0.5:5000"])
    assert not is_listed("10.0.0.5", 22, ["10.0.0.5:5000"])
    assert is_listed("::1", 7, ["[::1]"])
    assert not is_listed("a.example", 443, ["b.example", "example"])


def test_an_address_in_a_workloads_image_is_refused_with_its_path() -> None:
    """Unless the operator lists it; a name is the agent's to resolve."""
    rules = InstanceRules(registries=("127.0.0.1:5050",))
    for image, fine in (
        ("127.0.0.1:5050/a/b:1", True),
        ("127.0.0.1:22/a/b:1", False),
        ("169.254.169.254/latest/meta-data", False),
        ("[::1]:5000/a", False),
        ("localhost:5050/a", False),
        ("8.8.8.8:5000/a", True),
        ("registry.example/a", True),
    ):
        assert (literal_refusal(image, rules.registries) == "") is fine, image
        found = parse_with(put(terraform(), f"{APP}.image", image), rules)
        assert found == ([] if fine else [f"{APP}.image"]), image


def test_a_list_of_registries_is_checked() -> None:
    """Each wrong entry with its path."""
    rules = InstanceRules(registries=("registry.example", "[::1]:5000", "http://x", "a:70000", "10.0.0.0/8", ""))
    assert [p.path for p in problems(rules, "instances")] == [f"instances.registries[{n}]" for n in (2, 3, 4, 5)]
