"""What a row of answers says of a guest that moved: how long it was silent, or that nobody can tell."""

import pytest

from tests.moving_flows import Answer, moved_ms


def test_a_silence_lies_between_answers_of_the_one_host_and_of_the_other() -> None:
    """The longest counts, wherever it is: clients hear none of them."""
    answers = [Answer(0.0, 0), Answer(0.25, 0), Answer(1.0, 1), Answer(1.125, 1)]
    assert moved_ms(answers) == 750
    assert moved_ms([*answers, Answer(2.125, 1)]) == 1000


@pytest.mark.parametrize("by", [(), (0, 0), (1, 1), (0, 1, 0, 1), (1, 0)])
def test_answers_that_show_no_move_give_no_figure(by: tuple[int, ...]) -> None:
    """None of one of the two were seen, or both answered in turn."""
    with pytest.raises(ValueError, match="no move"):
        moved_ms([Answer(float(at), one) for at, one in enumerate(by)])
