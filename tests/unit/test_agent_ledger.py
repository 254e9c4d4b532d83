"""The ledger: on disk before it is obeyed, refuses what is stale or shrinks, gives the last order back."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from anypop.agent.ledger import Ledger
from anypop.agent.ledger_key import ledger_key
from anypop.model import codec
from anypop.model.errors import Invalid, WorldError
from anypop.model.names import HostName
from anypop.model.order import InstanceOrder, Removal
from anypop.model.reasons import Reason
from tests.agent_older import older_page
from tests.agent_world import HOST, instance, order

KEY = bytes(range(32))


def ledger(folder: Path) -> Ledger:
    """A ledger as a new process opens it."""
    opened = Ledger(folder / "order.json", HOST, KEY)
    opened.restore()
    return opened


def test_an_order_survives_the_process(tmp_path: Path) -> None:
    """A new process obeys the last order, with all its addresses; the file is for its owner alone, since it holds
    secrets.
    """
    first = ledger(tmp_path)
    assert first.page is None
    assert first.accept(order(3, instance(0))) is None
    again = ledger(tmp_path)
    assert again.page == first.page
    assert again.generation == 3
    assert stat.S_IMODE((tmp_path / "order.json").stat().st_mode) == 0o600


def test_generations_only_grow(tmp_path: Path) -> None:
    """An older order, and another one of the same generation, are refused; the same one again is harmless (invariant
    5).
    """
    book = ledger(tmp_path)
    book.accept(order(3, instance(0)))
    assert book.accept(order(2, instance(0))) is Reason.STALE_GENERATION
    assert book.accept(order(3, instance(0), instance(2))) is Reason.STALE_GENERATION
    assert book.accept(order(3, instance(0))) is None
    assert ledger(tmp_path).generation == 3


def test_leaving_an_instance_out_is_refused(tmp_path: Path) -> None:
    """An order that is empty or cut short takes nothing down; with a token for exactly that incarnation it does
    (invariants 6, 14).
    """
    book = ledger(tmp_path)
    book.accept(order(1, instance(0), instance(2)))
    assert book.accept(order(2)) is Reason.SHRINKS_WITHOUT_TOKEN
    assert book.accept(order(2, instance(0), removed=(instance(2, life=7),))) is Reason.SHRINKS_WITHOUT_TOKEN
    assert book.accept(order(2, instance(0), removed=(instance(2),))) is None
    assert book.page is not None
    assert [x.removal.uid for x in book.page.leaving] == [instance(2).uid]
    assert book.page.leaving[0].instance == instance(2)


def test_a_removal_goes_on_until_it_is_complete(tmp_path: Path) -> None:
    """A token that later orders no longer repeat stays in force until its instance is gone, also over a restart."""
    book = ledger(tmp_path)
    book.accept(order(1, instance(0)))
    book.accept(order(2, removed=(instance(0),)))
    book.accept(order(3))
    again = ledger(tmp_path)
    assert again.page is not None
    assert len(again.page.leaving) == 1
    again.forget(frozenset({instance(0).uid}))
    assert not again.page.leaving
    assert ledger(tmp_path).page == again.page


def test_a_token_is_kept_while_control_asks_for_it(tmp_path: Path) -> None:
    """A complete removal is reported as gone for as long as control repeats its token."""
    book = ledger(tmp_path)
    book.accept(order(1, instance(0)))
    book.accept(order(2, removed=(instance(0),)))
    book.forget(frozenset({instance(0).uid}))
    assert book.page is not None
    assert len(book.page.leaving) == 1


def test_a_page_of_the_older_version_is_read_as_it_was_meant(tmp_path: Path) -> None:
    """Instances, their addresses and the removals under way are those of then; what 0.1 did not know is empty."""
    meant = order(3, instance(0), removed=(instance(2),))
    (tmp_path / "order.json").write_text(json.dumps(older_page(meant, leaving=(instance(2),))))
    book = ledger(tmp_path)
    assert book.error == ""
    assert book.page is not None
    assert book.page.order.instances == (replace(instance(0), template=""),)
    (leaving,) = book.page.leaving
    assert (leaving.removal.uid, leaving.removal.reason, leaving.removal.link) == (
        instance(2).uid,
        Reason.SCALED_DOWN,
        3,
    )
    assert leaving.instance == replace(instance(2), template="")
    assert book.accept(order(4, instance(0))) is None, "control goes on from there"


def test_a_damaged_file_is_set_aside_and_said(tmp_path: Path) -> None:
    """A file that cannot be read counts as no order, says so, and is kept for people."""
    ledger(tmp_path).accept(order(1, instance(0)))
    (tmp_path / "order.json").write_text('{"order": {"pop": "LHR", ')
    broken = ledger(tmp_path)
    assert broken.page is None
    assert "cannot be read" in broken.error
    assert "left alone" in broken.error
    assert (tmp_path / "order.damaged").exists()
    assert broken.accept(order(2, instance(0))) is None
    assert broken.error == ""


def test_a_full_disk_refuses_the_order(tmp_path: Path) -> None:
    """An order that cannot be written is not obeyed."""
    (tmp_path / "file").write_text("")
    book = Ledger(tmp_path / "file" / "order.json", HOST, KEY)
    with pytest.raises(WorldError, match="write the order"):
        book.accept(order(1))
    assert book.page is None


def test_another_hosts_order_is_the_senders_mistake(tmp_path: Path) -> None:
    """An order for another host is refused with the field's name."""
    with pytest.raises(Invalid, match="host"):
        Ledger(tmp_path / "order.json", HostName("JFK"), KEY).accept(order(1))


def with_secret(number: int, value: str) -> InstanceOrder:
    one = instance(number)
    containers = tuple(replace(c, secrets=(("TOKEN", value),)) for c in one.containers)
    return replace(one, payload=replace(one.payload, containers=containers))


def test_no_secret_lies_readable_in_the_ledger(tmp_path: Path) -> None:
    """Of what runs and of what is on its way out; a new process reads them back, and also what an earlier version
    wrote in the clear, which is sealed at once.
    """
    first = ledger(tmp_path)
    one = with_secret(0, "hush-hush")
    first.accept(order(1, one))
    leaving = replace(order(2), removed=(Removal(name=one.name, uid=one.uid, reason=Reason.WORKLOAD_DELETED),))
    first.accept(leaving)
    assert first.page is not None and first.page.leaving[0].instance == one
    file = tmp_path / "order.json"
    assert b"hush" not in file.read_bytes()
    assert ledger(tmp_path).page == first.page
    file.write_bytes(codec.to_json(first.page))
    assert b"hush-hush" in file.read_bytes()
    assert ledger(tmp_path).page == first.page
    assert b"hush" not in file.read_bytes() and ledger(tmp_path).page == first.page


def test_a_ledger_of_another_key_is_told_and_stops_nothing(tmp_path: Path) -> None:
    """It is set aside, as a damaged one is."""
    ledger(tmp_path).accept(order(1, with_secret(0, "hush-hush")))
    other = Ledger(tmp_path / "order.json", HOST, bytes(32))
    other.restore()
    assert other.page is None and "sealed with another key" in other.error


def test_the_key_is_the_hosts_own_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Made once, in a file of mode 0600; another host's is another; the environment goes before the file."""
    key = ledger_key(tmp_path, HOST, {})
    assert ledger_key(tmp_path, HOST, {}) == key != ledger_key(tmp_path, HostName("JFK"), {})
    assert stat.S_IMODE((tmp_path / "ledger.key").stat().st_mode) == 0o600
    given = {"ANYPOP_SECRET_KEY": "ab" * 32}
    assert ledger_key(tmp_path / "none", HOST, given) == ledger_key(tmp_path, HOST, given) != key
    with pytest.raises(WorldError, match="64 hex digits"):
        ledger_key(tmp_path, HOST, {"ANYPOP_SECRET_KEY": "short"})
