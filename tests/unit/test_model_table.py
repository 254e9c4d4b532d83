"""Tables: what is put is there, groups follow, and what differs is told as a full comparison would tell it."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from anypop.model.table import Groups, Table, differing, settled, tabled, with_entries, without_keys
from tests.examples import examples

GROUPS: Groups = {"parity": lambda _, value: value % 2, "large": lambda _, value: True if value > 3 else None}
changes = st.lists(
    st.tuples(st.booleans(), st.dictionaries(st.integers(0, 8), st.integers(0, 6), max_size=3)), max_size=8
)


def plain(table: Mapping[int, int], name: str, group: object) -> dict[int, int]:
    return {key: value for key, value in table.items() if GROUPS[name](key, value) == group}


@settings(max_examples=examples(200), deadline=None)
@given(st.dictionaries(st.integers(0, 8), st.integers(0, 6)), changes, st.sets(st.integers(0, 8)))
def test_a_table_is_a_dictionary_that_knows_its_groups_and_what_differs(
    first: dict[int, int], steps: list[tuple[bool, dict[int, int]]], settle: set[int]
) -> None:
    """Over random puts, drops and settlings: entries, groups and differences from every table before are those of plain
    dictionaries.
    """
    tables: list[Mapping[int, int]] = [Table(first, GROUPS)]
    shadows = [dict(first)]
    for number, (drops, entries) in enumerate(steps):
        shadow = dict(shadows[-1])
        if drops:
            made = without_keys(tables[-1], entries)
            shadow = {key: value for key, value in shadow.items() if key not in entries}
        else:
            made = with_entries(tables[-1], entries)
            shadow |= entries
        if number in settle:
            made = settled(tables[-1], made)
        tables.append(made)
        shadows.append(shadow)
    for table, shadow in zip(tables, shadows, strict=True):
        assert isinstance(table, Table)
        assert table == shadow
        assert len(table) == len(shadow)
        for name, group in (("parity", 0), ("parity", 1), ("large", True)):
            assert dict(table.group(name, group)) == plain(shadow, name, group)
            assert (group in set(table.group_names(name))) == bool(plain(shadow, name, group))
        for older, was in zip(tables, shadows, strict=True):
            assert differing(older, table) == {key for key in {*was, *shadow} if was.get(key) != shadow.get(key)}


def test_what_differs_after_a_step_is_found_without_looking_at_the_rest() -> None:
    """From one settled table to the next only the touched keys are candidates; between strangers everything is
    compared.
    """
    before = Table({n: n for n in range(1000)}, GROUPS)
    draft = before.put({1: 7}).drop([2])
    after = settled(before, draft)
    assert isinstance(after, Table)
    assert set(draft.candidates(before) or ()) == {1, 2}
    assert set(after.candidates(before) or ()) == {1, 2}
    assert after.put({3: 0}).candidates(before) is not None
    assert Table(dict(after)).candidates(before) is None
    assert settled(before, before.put({1: 7}).put({1: 1})) is before  # taken back: the very same
    assert tabled(after) is after
