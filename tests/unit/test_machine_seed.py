"""What a guest is told when it starts: NoCloud's files, and the disk that they are on."""

import base64
import json
import subprocess
import time
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pycdlib
import pytest
import yaml

from anypop.agent.act.instances.machines.iso import write_iso
from anypop.agent.act.instances.machines.place import KEPT_SAID, MOST_SAID, SAID, Place
from anypop.agent.act.instances.machines.seed import seed_files
from anypop.agent.naming import disk_serial, inside_mac
from anypop.model.machine import Machine
from anypop.model.order import InstanceLink, InstanceOrder, LinkAddress
from anypop.model.volume import Mount
from anypop.model.workload import Container, Port, Protocol
from tests.agent_lab import ANYCAST4, ANYCAST6, external, instance

MAC = "02:00:00:00:00:01"
KEY = "ssh-ed25519 AAAA someone@example.org"


def _guest(**others: object) -> tuple[InstanceOrder, Container]:
    script = base64.b64encode(b"#!/bin/sh\necho \xc3\xa4\n").decode()
    container = Container(name="web", image="s/web", machine=Machine(user_data=script, ssh_keys=(KEY,)))
    container = replace(container, **others)  # type: ignore[arg-type]
    return instance(1, containers=(container,)), container


def _vendor(**others: object) -> str:
    guest, container = _guest(**others)
    return seed_files(guest, container, pop="LHR", mac=MAC)["vendor-data"].decode()


def test_a_new_incarnation_is_a_new_instance_with_the_slots_host_name_and_the_users_keys() -> None:
    """By the instance id cloud-init knows whether it has run the user data."""
    guest, container = _guest()
    told = json.loads(seed_files(guest, container, pop="LHR", mac=MAC)["meta-data"])
    assert told == {
        "instance-id": guest.uid, "local-hostname": guest.name, "availability-zone": "LHR", "public-keys": [KEY]
    }  # fmt: skip
    later = replace(guest, uid="f" * 32)
    assert json.loads(seed_files(later, container, pop="LHR", mac=MAC)["meta-data"])["instance-id"] == later.uid


def test_the_card_gets_the_private_addresses_with_a_way_out_and_the_hosts_resolver_in_both_families() -> None:
    """The same text is JSON for simple guests and YAML for cloud-init."""
    guest, container = _guest()
    text = seed_files(guest, container, pop="LHR", mac=MAC)["network-config"]
    card = yaml.safe_load(text)["ethernets"]["eth0"]
    assert json.loads(text) == yaml.safe_load(text)
    assert card["match"] == {"macaddress": MAC}
    assert card["addresses"] == ["10.64.0.3/31", "fd00:64::3/127"]
    assert (card["gateway4"], card["gateway6"]) == ("10.64.0.2", "fd00:64::2")
    assert card["nameservers"] == {"addresses": ["169.254.158.53", "fd8b:3f17:a19e::53"]}


def test_the_address_in_a_subnet_comes_first_on_the_card() -> None:
    """Programs that ask for their own address are to find it; its network's subnets are reached from it."""
    guest, container = _guest()
    four, six = guest.links[0].addresses
    four = replace(four, vpc=IPv4Address("172.20.0.9"))
    guest = replace(guest, links=(InstanceLink(addresses=(four, six), reach=(IPv4Network("172.20.0.0/16"),)),))
    files = seed_files(guest, container, pop="LHR", mac=MAC)
    card = json.loads(files["network-config"])["ethernets"]["eth0"]
    assert card["addresses"][:2] == ["172.20.0.9/32", "10.64.0.3/31"]
    assert 'route replace 172.20.0.0/16 via 10.64.0.2 dev "$nic" src 172.20.0.9' in files["vendor-data"].decode()


def test_a_further_interface_has_its_addresses_its_network_and_a_way_back() -> None:
    """As a container's has them: the way out is the first one's."""
    guest, container = _guest()
    four = LinkAddress(
        private=IPv4Address("10.64.9.1"), gateway=IPv4Address("10.64.9.0"), external=None, vpc=IPv4Address("172.20.0.9")
    )
    red = InstanceLink(network="red", addresses=(four,), reach=(IPv4Network("172.20.0.0/16"),))
    files = seed_files(replace(guest, links=(*guest.links, red)), container, pop="LHR", mac=MAC)
    first, second = json.loads(files["network-config"])["ethernets"].values()
    mac = inside_mac(guest.uid, 1).hex(":")
    assert (second["match"], second["set-name"]) == ({"macaddress": mac}, "eth1")
    assert second["addresses"] == ["172.20.0.9/32", "10.64.9.1/31"]
    assert "gateway4" in first and "gateway4" not in second
    hook = files["vendor-data"].decode()
    own = hook[hook.index(f"card {mac}") : hook.index("block /etc/hosts")]
    assert 'route replace 172.20.0.0/16 via 10.64.9.0 dev "$nic" src 172.20.0.9' in own
    assert 'route replace default via 10.64.9.0 dev "$nic" table 101' in own
    assert all(f"rule add from {address} table 101" in own for address in ("172.20.0.9", "10.64.9.1"))
    subprocess.run(["busybox", "sh", "-n"], input=hook.encode(), check=True)


def test_a_gateway_passes_on_and_nobody_else_is_told_to() -> None:
    """Its kernel: the boot hook says so."""
    guest, container = _guest()
    passing = replace(guest, links=(replace(guest.links[0], passes=(IPv4Network("10.9.0.0/16"),)),))
    found = [seed_files(one, container, pop="LHR", mac=MAC)["vendor-data"] for one in (guest, passing)]
    assert [b"echo 1 >/proc/sys/net/ipv4/ip_forward" in text for text in found] == [False, True]


def test_user_data_comes_as_the_user_wrote_it() -> None:
    """Not as base64, and byte for byte."""
    guest, container = _guest()
    assert seed_files(guest, container, pop="LHR", mac=MAC)["user-data"] == b"#!/bin/sh\necho \xc3\xa4\n"


def test_the_boot_hook_has_external_and_anycast_addresses_on_the_loopback_and_speaks_from_the_external_one() -> None:
    """In both families; it is a script that a shell takes."""
    guest, _ = _guest()
    text = _vendor()
    for address in (ANYCAST4, external(guest, 4)):
        assert f"addr replace {address}/32 dev lo" in text
    for address in (ANYCAST6, external(guest, 6)):
        assert f"addr replace {address}/128 dev lo" in text
    assert f'default via 10.64.0.2 dev "$nic" src {external(guest, 4)}' in text
    assert text.startswith("#cloud-boothook\n#!/bin/sh\n")
    subprocess.run(["busybox", "sh", "-n"], input=text.encode(), check=True)


def test_answers_by_udp_are_kept_only_where_a_port_of_udp_is_declared() -> None:
    """Nobody else pays for it, and the guest's own connection tracking is left alone."""
    assert "nft" not in _vendor()
    text = _vendor(ports=(Port(name="dns", port=53, protocol=Protocol.UDP),))
    assert f"ip daddr {{ {ANYCAST4} }} meta l4proto udp socket wildcard 1 dnat ip to" in text
    assert "notrack" not in text


def test_a_volume_is_mounted_by_the_serial_number_of_its_disk_and_its_path_is_no_command() -> None:
    """A virtio disk tells twenty letters of it: two long names that begin alike are two disks all the same."""
    text = _vendor(mounts=(Mount(claim="kept", path="/data; reboot"),))
    assert "volume kept '/data; reboot'\n" in text
    serials = {disk_serial(f"a-long-name-of-volume-{n}") for n in range(2)}
    assert len(serials) == 2
    assert {len(serial) for serial in serials} == {20}


def test_the_same_seed_is_the_same_to_the_byte_at_any_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it can be compared, and says nothing of when its host wrote it."""
    files = {"meta-data": b"one", "user-data": b"two"}
    write_iso(tmp_path / "now.iso", files)
    monkeypatch.setattr(time, "time", lambda: 1_900_000_000.0)
    write_iso(tmp_path / "later.iso", files)
    assert (tmp_path / "now.iso").read_bytes() == (tmp_path / "later.iso").read_bytes()


def test_what_qemu_says_is_cut_to_its_end_and_goes_on_there(tmp_path: Path) -> None:
    """It appends, as QEMU's keeper has it: what comes after the cut stands behind what was left."""
    place = Place(tmp_path)
    with place.file(SAID).open("ab", buffering=0) as said:
        said.write(b"little\n")
        place.bound_said()
        assert place.said() == "little"
        said.write(b"x" * MOST_SAID + b"the end\n")
        place.bound_said()
        said.write(b"and on\n")
    assert place.file(SAID).stat().st_size == KEPT_SAID + 7
    assert place.said().endswith("the end; and on")


def test_the_disk_of_a_seed_has_clouds_label_and_its_files_for_the_owner_alone(tmp_path: Path) -> None:
    """Read back by the names of both extensions; written twice it is replaced."""
    path = tmp_path / "seed.iso"
    for content in (b"old", b"new"):
        write_iso(path, {"meta-data": content, "user-data": b""})
    disk = pycdlib.PyCdlib()
    disk.open(str(path))
    for names in ("rr_path", "joliet_path"):
        read = disk.open_file_from_iso(**{names: "/meta-data"})
        with read:
            assert read.read() == b"new"
    disk.close()
    assert path.read_bytes()[32808:32814] == b"cidata"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["seed.iso"]
