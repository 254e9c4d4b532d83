"""Replies on BIRD's control socket: whole, however they are cut on their way."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from anypop.host import birdc
from anypop.model.errors import WorldError

HELLO = b"0001 BIRD 2.0.12 ready.\n"
TOLD = b"1002-Name Proto\n1006-  Preference: 100\n   Routes: 1 imported\n+1234 said meanwhile\n0000 \n"
PLAIN = "Name Proto\n  Preference: 100\n  Routes: 1 imported\n1234 said meanwhile\n"


@contextmanager
def daemon(folder: Path, reply: bytes, piece: int, questions: int = 1) -> Iterator[Path]:
    """One that answers so many questions alike, so many bytes at a time, and then is gone."""
    place = folder / "bird.ctl"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(place))
        door.listen()

        def answer() -> None:
            link, _ = door.accept()
            with link:
                link.sendall(HELLO)
                for _ in range(questions):
                    if link.recv(100):
                        with suppress(OSError):  # who has read enough is gone
                            for at in range(0, len(reply), piece):
                                link.sendall(reply[at : at + piece])

        answering = threading.Thread(target=answer)
        answering.start()
        yield place
        answering.join(timeout=10)


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_a_reply_is_the_same_however_it_is_cut(tmp_path: Path, piece: int) -> None:
    """Two in one connection; a line that looks like an end and is said in between is none."""
    with daemon(tmp_path, TOLD, piece, questions=2) as place:
        assert birdc.ask(place, "show protocols", "show protocols") == f"{PLAIN}\n{PLAIN}"


def test_an_error_is_told_in_the_words_of_the_daemon(tmp_path: Path) -> None:
    with daemon(tmp_path, b"8003 No protocols match\n", 5) as place, pytest.raises(WorldError, match="No protocols"):
        birdc.ask(place, "show protocols x")


def test_a_daemon_that_dies_in_the_middle_of_a_reply_has_not_answered(tmp_path: Path) -> None:
    with daemon(tmp_path, b"1002-Name\n", 50) as place, pytest.raises(WorldError, match="in the middle"):
        birdc.ask(place, "show protocols")


@pytest.mark.parametrize(("most", "whole"), [(4, False), (5, True)])
def test_a_glance_has_so_many_lines_and_says_where_more_are(tmp_path: Path, most: int, whole: bool) -> None:
    with daemon(tmp_path, TOLD, 3, questions=2) as place:
        told = birdc.glance(place, "show route", most_lines=most, timeout_s=5)
    assert told == (PLAIN if whole else f"{PLAIN.rstrip()}\n... cut after 4 lines")


def test_a_line_that_stays_is_opened_anew_where_the_daemon_was(tmp_path: Path) -> None:
    """Whoever asks gets an answer, and where nobody is there any more an error, after which he may ask again."""
    line = birdc.Line(tmp_path / "bird.ctl")
    for life in range(2):
        with daemon(tmp_path, TOLD, 100, questions=3):
            assert [line.ask("show protocols", timeout_s=5) for _ in range(3)] == [PLAIN] * 3, life
        (tmp_path / "bird.ctl").unlink()
        if life:
            with pytest.raises(WorldError):
                line.ask("show protocols", timeout_s=5)
    with daemon(tmp_path, b"8003 No protocols match\n", 5, questions=2):
        for _ in range(2):
            with pytest.raises(WorldError, match="No protocols"):
                line.ask("show protocols x", timeout_s=5)


def test_what_comes_too_late_is_no_answer_to_the_next_question(tmp_path: Path) -> None:
    """A daemon that was silent for too long is asked over another connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
        door.bind(str(tmp_path / "bird.ctl"))
        door.listen()
        line, links = birdc.Line(tmp_path / "bird.ctl"), []

        def answer() -> None:
            for number in range(2):
                links.append(door.accept()[0])
                links[-1].sendall(HELLO)
                if number:
                    with suppress(OSError):
                        links[0].sendall(b"0000 late\n")
                    links[1].recv(100)
                    links[1].sendall(b"0000 in time\n")

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(WorldError, match="timed out"):
            line.ask("show status", timeout_s=0.05)
        assert line.ask("show status", timeout_s=5) == "in time"
        answering.join(timeout=10)
        line.close()
        for link in links:
            link.close()
