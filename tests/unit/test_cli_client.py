"""The command line's way to control: tokens, pages, streams, and what becomes of refusals."""

import json
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypop.cli import settings
from anypop.cli.client import Client
from anypop.cli.failure import Exit, Failure, refused
from anypop.cli.settings import Settings
from tests.fake_control import CLIENT_ID, SECRET, FakeControl, client_file

HERE = Settings(url="https://control.test", ca="", client_id=CLIENT_ID, client_secret=SECRET, stack="default")
ONE = {
    "name": "web",
    "targets": {"eu1": {"spec": {"deployments": {"minReplicas": 5, "selectors": [{"values": ["AMS"]}]}}}},
}


def client(control: FakeControl, **changes: str) -> Client:
    return Client(
        Settings(**{**{key: getattr(HERE, key) for key in Settings.__slots__}, **changes}), transport=control.transport
    )


def test_one_token_serves_many_requests() -> None:
    """A token is fetched before the first request and kept."""
    control = FakeControl()
    mine = client(control)
    mine.get("/anypop/v1/pops", what="x")
    mine.get("/anypop/v1/vantages", what="x")
    assert control.tokens_given == 1


def test_an_expired_token_is_renewed_once_and_the_request_sent_again() -> None:
    """A 401 in the middle of a session is not the user's business."""
    control = FakeControl()
    mine = client(control)
    mine.get("/anypop/v1/pops", what="x")
    control.expire()
    assert mine.get("/anypop/v1/pops", what="x")["results"]
    assert control.tokens_given == 2


def test_a_second_401_is_told_and_not_tried_for_ever() -> None:
    """Control that refuses a fresh token gets no third request."""
    control = FakeControl()
    control.answers["GET", "/anypop/v1/pops"] = (401, {"code": 16, "message": "no", "details": []})
    with pytest.raises(Failure) as failure:
        client(control).get("/anypop/v1/pops", what="list PoPs")
    assert failure.value.code is Exit.DENIED
    assert len(control.requests) == 2


@pytest.mark.parametrize(
    ("changes", "says"), [({"client_secret": "2" * 64}, "secret"), ({"client_id": "f" * 32}, "does not know client")]
)
def test_wrong_credentials_are_told_apart(changes: dict[str, str], says: str) -> None:
    """A wrong secret and an unknown client have messages of their own and exit code 4."""
    with pytest.raises(Failure, match=says) as failure:
        client(FakeControl(), **changes).get("/anypop/v1/pops", what="x")
    assert failure.value.code is Exit.DENIED


def test_no_failure_ever_shows_the_secret() -> None:
    """Neither wrong credentials nor a dead control put the secret on a screen."""

    def dead(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    for transport in (FakeControl().transport, httpx.MockTransport(dead)):
        mine = Client(
            Settings(url=HERE.url, ca="", client_id="f" * 32, client_secret="s3cret", stack="x"), transport=transport
        )
        with pytest.raises(Failure) as failure:
            mine.get("/anypop/v1/pops", what="x")
        assert "s3cret" not in "\n".join(failure.value.lines())


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("refused"),
        httpx.ConnectTimeout("slow"),
        httpx.ReadTimeout("silent"),
        httpx.ConnectError("CERTIFICATE_VERIFY_FAILED"),
    ],
)
def test_a_control_that_cannot_be_reached_is_exit_code_3(error: Exception) -> None:
    """Whatever keeps us from control: one line that names its address, and what to do."""

    def dead(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(Failure, match=r"https://control\.test") as failure:
        Client(HERE, transport=httpx.MockTransport(dead)).get("/x", what="x")
    assert failure.value.code is Exit.UNREACHABLE
    assert failure.value.advice


def test_lists_are_read_to_their_last_page() -> None:
    """Five instances in pages of two come as five, in order."""
    control = FakeControl()
    mine = client(control)
    mine.call("POST", "/workload/v1/stacks/default/workloads", what="x", body={"workload": ONE})
    found = mine.every("/workload/v1/stacks/default/workloads/web/instances", what="x")
    assert [i["name"] for i in found] == [f"web-eu1-ams-{n}" for n in range(5)]


@pytest.mark.parametrize("body", [b"<html>bad gateway</html>", b"[]", b"", b'"x"', b"\xff\xfe"])
@pytest.mark.parametrize("status", [200, 404, 500, 502])
def test_an_answer_that_is_not_control_s_own_is_a_message_not_a_crash(status: int, body: bytes) -> None:
    """A proxy's page, an empty body, a list where an object belongs."""
    control = FakeControl()
    control.answers["GET", "/anypop/v1/x"] = (status, body)
    try:
        client(control).get("/anypop/v1/x", what="look")
    except Failure as failure:
        assert failure.lines()[0].startswith("anypop: look: ")
    else:
        assert status == 200


def test_every_field_violation_is_listed_with_its_path() -> None:
    """All problems at once, each on its own line."""
    body = {
        "code": 3,
        "message": "a: is required (and 1 more)",
        "details": [
            {
                "@type": "stackpath.rpc.BadRequest",
                "fieldViolations": [
                    {"field": "a", "description": "is required"},
                    {"field": "b[2].c", "description": "must be 1 to 65535"},
                ],
            }
        ],
    }
    assert refused(400, body, what="create").lines() == [
        "anypop: create: 2 problems",
        "  - a: is required",
        "  - b[2].c: must be 1 to 65535",
    ]


@given(
    st.integers(400, 599),
    st.recursive(st.none() | st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)),
)
def test_no_error_body_breaks_the_error_message(status: int, body: object) -> None:
    """Whatever JSON stands in an error, there is a first line and an exit code that is not 0."""
    failure = refused(status, body, what="do it")
    assert failure.lines()[0].startswith("anypop: do it: ")
    assert failure.code is not Exit.OK


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["@type", "fieldViolations", "violations", "links"]),
            st.text() | st.none() | st.lists(st.integers()),
        )
    )
)
def test_no_error_detail_breaks_the_error_message(details: list[object]) -> None:
    """Details of wrong shapes are left out, never a crash."""
    assert refused(400, {"message": "no", "details": details}, what="do it").lines()


def test_a_stream_gives_its_events_in_order_and_skips_comments() -> None:
    """Names, several data lines, comments and the last event without its empty line."""
    text = ': hi\n\nevent: a\ndata: {"n":\ndata: 1}\n\ndata: [2]\n\ndata: 3'
    control = FakeControl()
    control.answers["GET", "/s"] = (200, text.encode())
    assert list(client(control).events("/s", what="x")) == [("a", {"n": 1}), ("message", [2])]


def test_settings_come_from_the_file_and_the_environment_wins(tmp_path: Path) -> None:
    """One value from the environment, the others from client.json."""
    (tmp_path / "client.json").write_text(client_file())
    found = settings.load(None, {"ANYPOP_STATE": str(tmp_path), "ANYPOP_STACK": "other"})
    assert (found.url, found.stack) == ("https://control.test", "other")


def test_a_named_state_folder_beats_the_environment(tmp_path: Path) -> None:
    """`--state` means that platform, whatever the environment points to."""
    (tmp_path / "client.json").write_text(client_file())
    environment = {f"ANYPOP_{key}": "elsewhere" for key in ("URL", "CLIENT_ID", "CLIENT_SECRET", "STACK", "STATE")}
    assert settings.load(tmp_path, environment).url == "https://control.test"


def test_the_environment_alone_is_enough() -> None:
    """No state folder is needed on a machine that only talks to control."""
    environment = {
        "ANYPOP_URL": "https://c:1/",
        "ANYPOP_CLIENT_ID": "a",
        "ANYPOP_CLIENT_SECRET": "b",
        "ANYPOP_STACK": "s",
    }
    assert settings.load(None, environment).url == "https://c:1"


def test_a_relative_ca_belongs_to_the_state_folder(tmp_path: Path) -> None:
    """`control/ca.pem` in client.json is found from any working directory."""
    (tmp_path / "client.json").write_text(json.dumps(json.loads(client_file()) | {"ca": "control/ca.pem"}))
    assert settings.load(tmp_path, {}).ca == str(tmp_path / "control/ca.pem")


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '{"url": "https://x"}', '{"url": "ftp://x", "client_id": "a", "client_secret": "b", "stack": "s"}'],
)
def test_a_broken_client_file_is_one_clear_failure(text: str, tmp_path: Path) -> None:
    """It names what is wrong and what to do."""
    (tmp_path / "client.json").write_text(text)
    with pytest.raises(Failure) as failure:
        settings.load(tmp_path, {})
    assert failure.value.code is Exit.USAGE
    assert failure.value.advice


def test_a_missing_ca_file_is_told(tmp_path: Path) -> None:
    """Not a traceback of the TLS library."""
    with pytest.raises(Failure, match="CA"):
        Client(Settings(url="https://x", ca=str(tmp_path / "no.pem"), client_id="a", client_secret="b", stack="s"))
