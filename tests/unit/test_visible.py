"""No text of others steers a terminal or hides in a log: what the command line prints, whatever control answers."""

import io
import json
import logging
import shlex
import sys
import unicodedata
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.cli import failure, screen, table
from anypop.model.visible import VisibleFormatter, visible, visible_json, visible_line
from tests.cli_calls import Caller

ANY = st.text(st.characters(exclude_categories=()), max_size=40)
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x7f\u202egnp\u2066\u200b\u2028x\U000e0041\n\tend"


def harmful(text: str) -> set[str]:
    """Characters that a terminal obeys, or that nobody sees; newline and tab may be there."""
    kinds = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return {c for c in text if unicodedata.category(c) in kinds and c not in "\n\t\u200c\u200d"} - {
        c for c in text if unicodedata.category(c) == "Cf" and visible(c) == c
    }


@given(text=ANY)
def test_nothing_harmful_is_left_and_nothing_harmless_is_lost(text: str) -> None:
    """Twice is as good as once; letters of every script stay."""
    shown = visible(text)
    assert not harmful(shown) and not harmful(visible_line(text)) and not set("\n\t") & set(visible_line(text))
    assert visible(shown) == shown
    assert text.isprintable() <= (shown == text)


def test_all_that_steers_is_spelt_out() -> None:
    """C0, C1, DEL, overrides of direction and marks without width, each by name."""
    for number in (*range(9), *range(11, 32), *range(0x7F, 0xA0), 0x202A, 0x202E, 0x2066, 0x2069, 0x200B, 0x2028):
        assert visible(chr(number)) == (
            "\\r" if number == 13 else f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"
        )


@given(data=st.dictionaries(ANY, ANY, max_size=3))
def test_json_is_the_same_document_and_safe_to_look_at(data: dict[str, str]) -> None:
    """Escapes, so that a program reads what was there."""
    shown = visible_json(json.dumps(data, indent=2, ensure_ascii=False))
    assert json.loads(shown) == data and not harmful(shown)
    shown.encode()


@given(text=ANY)
def test_every_way_to_the_screen_is_clean(text: str) -> None:
    """Sentences, pieces, cells, titles, what stands for an empty table, failures and their problems."""
    shown = screen.Screen(screen.Format.TABLE).text(
        [
            text,
            [(text, "bold")],
            table.Table(columns=[table.Column(head="A")], rows=[[text], [(text, "red")]], title=text),
            table.Table(columns=[], rows=[], empty=text),
        ]
    )
    assert not harmful(shown.plain)
    lines = table.lines(table.Table(columns=[table.Column(head="A")], rows=[[text]]), None)
    assert len(lines) == 2 and "\n" not in "".join(piece for line in lines for piece, _ in line)
    assert failure.Failure(text, problems=[text], advice=text).lines()


def answering(request: httpx.Request) -> httpx.Response:
    """Every text that control could have is hostile."""
    if request.url.path.endswith("/token"):
        return httpx.Response(200, json={"access_token": "t", "token_type": "bearer", "expires_in": 3600})
    if request.method != "GET":
        body = {"code": 3, "message": HOSTILE, "details": [
            {"@type": "stackpath.rpc.BadRequest", "fieldViolations": [{"field": HOSTILE, "description": HOSTILE}] * 2}
        ]}  # fmt: skip
        return httpx.Response(400, json=body)
    names = """id name slug kind subject message at host pop city state status phase reason says upstream prefix note
        image nearest address error createdAt created_at workload stack by text rollout instance cityCode"""
    row: dict[str, object] = dict.fromkeys(names.split(), HOSTILE)
    row |= {
        "id": 7,
        "metadata": {"version": HOSTILE, "labels": {HOSTILE: HOSTILE}},
        "location": row.copy(),
        "fields": {"a": HOSTILE},
        "containers": {HOSTILE: {"image": HOSTILE}},
        "spec": {"containers": {HOSTILE: {"image": HOSTILE}}},
        "targets": {},
    }
    page = {"pageInfo": {"totalCount": "1", "hasNextPage": False}, "results": [row]}
    many = (
        "events",
        "vantages",
        "rollouts",
        "revisions",
        "pops",
        "hosts",
        "stacks",
        "entries",
        "rules",
        "announcements",
    )
    return httpx.Response(200, json=page | row | {key: [row] for key in many} | {"workload": row, "instance": row})


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
@pytest.mark.parametrize(
    "command",
    [
        "workload list", "audit --request 7",
        "workload instances web", "workload show web", "events", "pops", "vantages", "host list",
        "rollout list",  "announce show web", "workload create web --image a --target e=LHR",
        "workload delete web --yes", "workload revisions web", "instance web-eu-lhr-0", "why london", "probe --all",
        "announce withhold web --pop LHR", "stacks", f"workload show {HOSTILE!r}", f"{HOSTILE!r}",
        "get workloads", "get instances -w web", "get hosts", "get rollouts -w web", "get workloads -o name",
        f"describe workload {HOSTILE!r}", f"describe pop {HOSTILE!r}", f"delete workload {HOSTILE!r} --yes",
        "wait web --timeout 0.1", "top", "_complete get workload ''", "_complete logs ''",
    ],
)  # fmt: skip
def test_no_command_prints_what_a_terminal_obeys(
    command: str, output: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it makes of such answers: a table, a document, a refusal; also from its own arguments."""
    call = Caller(tmp_path, httpx.MockTransport(answering), monkeypatch)
    words = [HOSTILE if word == "@@" else word for word in shlex.split(command.replace(repr(HOSTILE), "@@"))]
    ran = call("-o", output, *words)
    assert not harmful(ran.out) and not harmful(ran.err), (ran.out, ran.err)


def test_a_log_has_one_line_for_each_record_and_no_escape(capsys: pytest.CaptureFixture[str]) -> None:
    """A tenant's text cannot look like a line of its own; a traceback keeps its lines."""
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(VisibleFormatter("%(levelname)s %(message)s"))
    log = logging.Logger("tried")
    log.addHandler(handler)
    log.warning("a name: %s", "x\nERROR forged \x1b[2J")
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        log.exception("our %s", "bug")
    first, second, *rest = out.getvalue().splitlines()
    assert first == "WARNING a name: x\\nERROR forged \\x1b[2J"
    assert second == "ERROR our bug" and rest[0].startswith("Traceback") and not harmful(out.getvalue())
    assert sys.stdout is not out and not capsys.readouterr().out
