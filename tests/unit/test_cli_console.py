"""A terminal lent to a console: keys go there as they are, and one of them leaves."""

import os
import pty
import subprocess
import sys
import termios

from tests.wait import wait_until

SCRIPT = """
import queue, sys
from anypop.cli import terminal
from anypop.model.streams import Frame

class There:
    def __init__(self): self.said = queue.Queue()
    def send(self, frame): self.said.put(bytes([Frame.OUTPUT]) + frame[1:])
    def close(self): self.said.put(None)
    def __iter__(self): return iter(self.said.get, None)

sys.exit(7 if terminal.console(There(), tty=True) else 0)
"""


def test_a_key_leaves_the_console_and_all_others_go_there() -> None:
    """Ctrl-C and Ctrl-Z too; what is typed behind it goes nowhere, and the terminal is as it was."""
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    with subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=theirs, stdout=theirs) as running:
        wait_until(lambda: termios.tcgetattr(theirs) != before, timeout_s=20, reason="each key is taken")
        os.write(ours, b"a\x03\x1a\xff\x1dlost")
        assert running.wait(20) == 7
    shown = os.read(ours, 100)
    assert shown == b"a\x03\x1a\xff"
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)
