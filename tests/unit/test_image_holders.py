"""Of the hosts of a PoP that begin at the same moment, which one gets a file of an image for all."""

from types import SimpleNamespace
from typing import Any

import pytest

from anypop.control import image_uses
from anypop.control.image_uses import holders
from anypop.model.names import HostName
from tests.unit.test_machine import a_machine, an_image

LHR, AMS = [HostName(f"LHR-{n}") for n in (1, 2, 3)], [HostName("AMS-1")]
SHA = "ab" * 32


def state(*needing: HostName, unheard: tuple[HostName, ...] = ()) -> Any:
    """`needing`: those whose orders name the file; `unheard`: who is not believed."""
    instance = SimpleNamespace(containers=(a_machine(an_image()),), rescue=None)
    order = SimpleNamespace(order=SimpleNamespace(instances=(instance,)))
    hosts = [(SimpleNamespace(city=name[:3]), SimpleNamespace(name=name)) for name in (*LHR, *AMS)]
    return SimpleNamespace(
        network=SimpleNamespace(hosts=lambda: hosts), orders=dict.fromkeys(needing, order), reports={},
        verdict=SimpleNamespace(hosts={n: SimpleNamespace(trusted=n not in unheard) for n in (*LHR, *AMS)}),
    )  # fmt: skip


def test_one_host_of_a_pop_begins_and_all_others_ask_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only one whose order names the file, and that is heard. Hosts of other PoPs that have it follow it."""
    found = {name: holders(state(*LHR, *AMS), name, SHA) for name in (*LHR, *AMS)}
    (first,) = (name for name in LHR if not found[name])
    assert {tuple(found[name]) for name in LHR if name != first} == {(first,)}
    assert found[AMS[0]] == []
    others = [name for name in LHR if name != first]
    silent = {name: holders(state(*LHR, unheard=(first,)), name, SHA) for name in others}
    assert sorted(map(len, silent.values())) == [0, 1] and [first] not in silent.values()
    assert holders(state(others[0]), others[0], SHA) == [], "nobody else needs it"
    monkeypatch.setattr(image_uses, "_runs", lambda _, host, __: host in AMS)
    assert [holders(state(*LHR, *AMS), name, SHA) for name in (first, others[0])] == [AMS, [first, *AMS]]
    monkeypatch.setattr(image_uses, "_runs", lambda _, host, __: host == others[1])
    assert holders(state(*LHR, *AMS), others[0], SHA) == [others[1]], "one that has it is asked, and nobody waits"
