"""A small, fixed part of what `script/fuzz` does: some requests for every operation, and every answer as described."""

from pathlib import Path

import pytest

from tests import fuzzed


@pytest.mark.timeout(280)
def test_every_operation_answers_as_described(tmp_path: Path) -> None:
    """No error of ours, and no answer with another status, type, header or body than docs/openapi.json says."""
    assert fuzzed.PROGRAM.exists(), "run script/setup --dev"
    ran = fuzzed.fuzz(tmp_path, examples=1, seed=1, left_out=fuzzed.SLOW)
    assert not ran.failed, ran.output
    assert ran.sent > 50
