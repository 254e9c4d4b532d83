"""What the agent tells the process that stays with virtual machines."""

import base64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from anypop.agent.decide.guests import guests_for
from anypop.agent.guesting import Guesting
from anypop.agent.guests import files
from anypop.model.confinement import PLAIN_RULES
from anypop.model.machine import Machine
from anypop.model.names import CityCode
from anypop.model.workload import Container
from tests.agent_lab import ANYCAST4, instance

KEY = "ssh-ed25519 AAAA me@example"
SCRIPT = "#!/bin/sh\n"


def facts(*containers: Container) -> Any:
    one = instance(1, containers=containers)
    order = SimpleNamespace(pop=CityCode("AMS"), rules=PLAIN_RULES)
    return SimpleNamespace(known={one.uid: one}, order=order)


def test_a_guest_is_told_what_it_is_and_a_container_is_none(tmp_path: Path) -> None:
    """Its files are written once: the process is signalled where something is new."""
    data = base64.b64encode(SCRIPT.encode()).decode()
    guest = Container(name="vm", image="s/web", machine=Machine(user_data=data, ssh_keys=(KEY,)))
    guesting = Guesting(tmp_path / "guests", prefix="any", machines=tmp_path / "machines", kept=tmp_path / "logs")
    assert guesting._needed() is None, "what runs goes on until it is known whether it has to"
    guesting.set(facts(Container(name="web", image="web")))
    assert guesting._needed() is False
    told = facts(guest)
    (uid,) = told.known
    guesting.set(told)
    assert guesting._needed() is True and guesting._write() is True and guesting._write() is False
    (read,) = files.read_guests(tmp_path / "guests")
    assert read.console == str(tmp_path / "machines" / uid / "own" / "console.sock") and uid in read.kept
    assert read.about["instance-id"] == uid and read.about["public-keys/0/openssh-key"] == KEY
    assert read.about["anycast-ipv4"] == str(ANYCAST4) and read.about["placement/availability-zone"] == "AMS"
    assert files.read_seed(tmp_path / "guests", uid, "user-data") == SCRIPT.encode()
    assert guesting.log_of(uid) == tmp_path / "guests" / uid and guesting.log_of("other") is None
    guesting.forget(uid)
    assert files.read_seed(tmp_path / "guests", uid, "user-data") is None
    mode = (tmp_path / "guests" / "guests.json").stat().st_mode
    assert mode & 0o077 == 0, "it may hold secrets"
    assert guests_for((), prefix="any", pop=CityCode("AMS"), machines="m", kept="k", log_bytes=1) == ()
