"""The check of the machine: clear words for each thing that is missing."""

import os
import shutil
import socket

import pytest

from anypop.lab import preflight


def test_without_root_there_is_one_problem_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user is told to use sudo, and nothing else."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    (problem,) = preflight.problems()
    assert "sudo" in problem.message


def test_every_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """All missing programs are told at once, each with the package that has it."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(
        shutil, "which", lambda program: None if program in {"bird", "podman", "ip"} else f"/usr/bin/{program}"
    )
    messages = [problem.message for problem in preflight.problems() if problem.path == "programs"]
    assert len(messages) == 3
    assert any("apt-get install bird2" in message for message in messages)


def test_a_taken_port_names_the_option_that_mends_it() -> None:
    """A port that somebody listens on is a problem; a free one is none."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        problem = preflight.port_problem("registry_port", port)
        assert problem is not None
        assert f"port {port} is taken" in problem.message
        assert "--registry-port" in problem.message
    assert preflight.port_problem("registry_port", port) is None
