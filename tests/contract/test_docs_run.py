"""Commands of the documents, done: each that can be is run by the real command line against a real control whose agents
only pretend, in the article's world. What cannot is named here, with why and where it is tested.
"""

import time
from pathlib import Path

import pytest

from anypop.control.roles import Role
from tests.contract.test_api_predictions import CITIES, command_line, graph_in
from tests.london_world import london_world
from tests.people import PASSWORD, a_user, quick
from tests.unit.test_docs_commands import PAGES, commands, stripped

REFERENCE = "cli.md"  # written from the commands, whose own tests run its examples' like
# by how a line begins
NOT_RUN = {
    "up": "starts a platform: tests/lab/test_platform.py",
    "down": "ends a platform: tests/lab/test_platform.py",
    "backup": "takes the operator's own folders: test_backup.py",
    "restore": "takes the operator's own folders: test_backup.py",
    "login": "signs in over TLS at an address: test_sign_in.py",
    "invitation accept": "signs in over TLS at an address: test_accounts.py",
    "account request": "asks over TLS at an address: test_accounts.py",
    "port-forward": "does not end by itself: tests/lab/test_instance_streams.py",
    "console": "is for a terminal: tests of virtual machines",
    "events -f": "does not end by itself: test_streams.py",
    "completion": "is read by a shell: tests/unit",
    "context use": "chooses among the reader's own contexts: tests/unit",
    "workload create web --vm-image": "needs hosts that run virtual machines: tests/lab",
    "vm off": "needs a virtual machine: tests/lab/test_machines.py",
    "vm on": "needs a virtual machine: tests/lab/test_machines.py",
    "vm rescue": "needs a virtual machine: tests/lab/test_machines.py",
    "vm image capture": "needs a virtual machine: tests/lab/test_machines_by_api.py",
    "wait": "is for a workload of the reader's",
    "describe": "is for a workload of the reader's",
    "route explain": "reads the reader's file: tests/unit/test_routing_explain.py",
    "diff -f": "reads the reader's file: test_cli_verbs.py",
    "apply": "reads the reader's files: test_cli_verbs.py",
    "catchment generate": "makes 20,000 networks: tests/unit/test_cli_catchment.py",
    "catchment predict --graph": "reads what was generated: tests/unit/test_cli_catchment.py",
    "catchment predict --history": "reads the reader's files: tests/unit/test_cli_catchment.py",
    "catchment observe": "reads the reader's files: tests/unit/test_cli_catchment.py",
    "catchment evaluate": "reads the reader's files: tests/unit/test_cli_catchment.py",
    "doctor --apply": "watches vantages through its waves: test_portal_browser_map.py",
    "workload create stackpath-anycast-fun": "waits by a stream, which needs sockets: tests/lab/test_story.py",
    "workload set-image": "waits by a stream: tests/lab/test_updates.py",
    "workload rollback": "waits by a stream: tests/lab/test_updates.py",
    "announce": "waits until vantages have moved: tests/lab/test_story.py",
    "vm image import": "reads the reader's files: tests/contract/test_machine_images.py",
    "vm image deprecate": "is for an image of the reader's: tests/contract/test_machine_images.py",
    "vm image delete": "is for an image of the reader's: tests/contract/test_machine_images.py",
    "invitation create --account ID": "has a word that is the reader's to fill in",
    "account approve ID": "has a word that is the reader's to fill in",
    "credential create ci --of-stack shop": "is for a stack of the reader's",
}


def lines() -> list[str]:
    """Each command once, in the order of the documents."""
    found = [
        " ".join(words[1:])
        for page in PAGES
        if page.name != REFERENCE
        for one in commands(page)
        if (words := stripped(one)) and words[0].rpartition("/")[2] == "anypop" and len(words) > 1
    ]
    return list(dict.fromkeys(found))


def why_not(line: str) -> str:
    return next((why for begin, why in NOT_RUN.items() if f"{line} ".startswith(f"{begin} ")), "")


def test_no_reason_is_kept_for_what_no_document_shows() -> None:
    known = lines()
    assert [begin for begin in NOT_RUN if not any(f"{line} ".startswith(f"{begin} ") for line in known)] == []
    assert len([line for line in known if not why_not(line)]) > 10


def test_what_the_documents_show_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command ends well; where it would ask first, it is told yes."""
    (tmp_path / "world").mkdir()
    with london_world(tmp_path / "world", now=time.time()) as world:
        quick(world)
        a_user(world, world.platform.accounts.first_account().id, "bob", Role.VIEWER, PASSWORD)
        call = command_line(world, graph_in(tmp_path), monkeypatch)
        monkeypatch.chdir(tmp_path)
        world.create("stackpath-anycast-fun", cities=CITIES)
        world.settle()
        failed = []
        for line in (line for line in lines() if not why_not(line)):
            ran = call(*line.split())
            if ran.code and "--yes" in ran.err:
                ran = call(*line.split(), "--yes")
            if ran.code:
                failed.append((line, ran.code, ran.err[-300:]))
    assert not failed, "\n".join(map(str, failed))
