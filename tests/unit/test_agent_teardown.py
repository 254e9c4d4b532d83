"""The end of a PoP on a busy machine: what it needs before it can begin."""

import subprocess
import sys
from pathlib import Path

from anypop.agent.teardown import _remembered

HEAVY = ("asyncio", "httpx", "pydantic")


def test_a_teardown_loads_none_of_what_only_a_running_agent_needs() -> None:
    """Four teardowns side by side on a machine with eight busy processes spent half a minute on loading libraries
    they did not use.
    """
    words = f"import sys, anypop.agent.__main__; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_a_damaged_order_is_no_obstacle(tmp_path: Path) -> None:
    """What cannot be read names no instance, and raises nothing."""
    assert _remembered(tmp_path) == set()
    for text in ("", "[]", '{"order": null}', '{"order": {"instances": [{}]}, "leaving": []}'):
        (tmp_path / "order.json").write_text(text)
        assert _remembered(tmp_path) == set()
