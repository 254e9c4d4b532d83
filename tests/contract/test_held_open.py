"""What is held open for somebody ends at once with what let them in, in words for the client and for the audit log; and
nothing of anybody else ends with it.

Real connections: a command and a port by WebSocket, a followed log, three streams of events; for each way to lose
access.
"""

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.connection import Connection

from anypop.control.accounts import DELETED, SUSPENDED
from anypop.control.held_open import CREDENTIAL_OVER, SESSION_OVER
from anypop.control.roles import Role
from anypop.control.tokens import SESSION_LIFE_S, TOKEN_LIFE_S
from anypop.model.streams import Frame
from tests.control_world import World
from tests.people import PASSWORD, a_user, quick, session
from tests.served import PATIENCE_S, PlayedAgent, Served, served
from tests.wait import wait_until

WORKLOAD = "/anypop/v1/stacks/default/workloads/fun"
INSTANCE = "fun-eu-ams-0"
COMMAND, PORT, CONSOLE = (
    f"{WORKLOAD}/instances/{INSTANCE}/exec?command=cat",
    f"{WORKLOAD}/instances/{INSTANCE}/port-forward?port=80",
    f"{WORKLOAD}/instances/{INSTANCE}/console",
)
LOG = f"/workload/v1/stacks/default/workloads/fun/instances/{INSTANCE}/logs?follow=true"
EVENTS, WATCH, ANNOUNCED = "/anypop/v1/events/watch", f"{WORKLOAD}/watch", f"{WORKLOAD}/announcements/watch"
SOCKETS = {"run_command": COMMAND, "forward_port": PORT, "open_console": CONSOLE}
READ = {
    "read_logs": LOG, "watch_events": EVENTS, "watch_instances": WATCH, "watch_announcements": ANNOUNCED,
    "watch_summaries": "/anypop/v1/stacks/default/summaries/watch?workloads=fun",
    "watch_logs": "/anypop/v1/stacks/default/logs/watch", "watch_dials": "/anypop/v1/dials/watch",
    "watch_volumes": "/anypop/v1/stacks/default/volumes/watch",
}  # fmt: skip
QUIET = {"watch_logs", "watch_announcements", "watch_dials", "watch_volumes"}  # nothing of them changes here

Headers = Mapping[str, str]


class Read:
    """An answer that goes on, read by a thread. `failed`: how it broke, if it did."""

    def __init__(self, there: Served, path: str, headers: Headers) -> None:
        self._there, self._path, self._headers = there, path, headers
        self.text = ""
        self.over, self.begun = threading.Event(), threading.Event()
        self.failed: Exception | None = None
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            with self._there.http.stream("GET", self._path, headers=dict(self._headers), timeout=None) as answer:
                assert answer.status_code == 200, answer.read()
                self.begun.set()
                for piece in answer.iter_text():
                    self.text += piece
        except (httpx.TransportError, AssertionError) as error:
            self.failed = error
        self.over.set()

    def why(self) -> str:
        """The last words, once it is over."""
        assert self.over.wait(PATIENCE_S), f"{self._path} goes on: {self.text[-200:]}"
        # a log that is cut off must not look like one that is whole
        assert isinstance(self.failed, httpx.RemoteProtocolError if self._path == LOG else type(None)), self.failed
        last = self.text.rstrip("\n").rpartition("\n")[2]
        if self._path == LOG:
            return last.removeprefix("anypop: this log is read no further: ")
        assert self.text.rpartition("event: ")[2].startswith("ended\n"), self.text[-200:]
        return str(json.loads(last.removeprefix("data: "))["message"])


@dataclass
class Opened:
    """All that somebody has open."""

    sockets: dict[str, Connection]
    read: dict[str, Read]

    def why(self, *names: str) -> dict[str, str]:
        """What each of these was ended with."""
        return {n: self.read[n].why() if n in self.read else closed(self.sockets[n]) for n in names}


def closed(there: Connection) -> str:
    with pytest.raises(ConnectionClosed) as ended:
        there.recv(PATIENCE_S)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code == 1008
    return ended.value.rcvd.reason


ALL = (*SOCKETS, *READ)


class Place:
    """The world, its door, an agent, and what is open."""

    def __init__(self, world: World, there: Served, agent: PlayedAgent) -> None:
        self.world, self.there, self.agent = world, there, agent
        self.operator = world.platform.accounts.first_account().id
        self._count = 0

    def opens(self, headers: Headers, left: contextlib.ExitStack) -> Opened:
        sockets = {name: left.enter_context(self.there.socket(path, headers)) for name, path in SOCKETS.items()}
        read = {name: Read(self.there, path, headers) for name, path in READ.items()}
        for one in read.values():
            assert one.begun.wait(PATIENCE_S), one.failed
        return Opened(sockets, read)

    def lives(self, opened: Opened, *names: str) -> None:
        """Something new comes by each of them."""
        wanted = names or ALL
        for name in set(wanted) & set(SOCKETS):
            opened.sockets[name].send(bytes([Frame.INPUT]) + b"hello")
            assert opened.sockets[name].recv(PATIENCE_S) == bytes([Frame.OUTPUT]) + b"HELLO"
        before = {name: len(opened.read[name].text) for name in READ}
        self.agent.say(b"more\n")
        self._count += 1
        self.world.send(
            "PATCH", "/workload/v1/stacks/default/workloads/fun", {"workload": self.world.replicas(2 + self._count % 2)}
        )
        for name in set(wanted) & set(READ):
            one = opened.read[name]
            if name not in QUIET:
                wait_until(lambda: len(one.text) > before[name], timeout_s=PATIENCE_S, reason=f"{name} goes on")  # noqa: B023
            assert not one.over.is_set()

    def person(self, name: str, role: Role = Role.EDITOR) -> tuple[str, Headers]:
        """A user of the operator's account with a password, and a session."""
        identity = a_user(self.world, self.operator, name, role, PASSWORD)
        return identity, session(self.world, identity, self.operator)

    def credential(self, **more: object) -> tuple[str, Headers]:
        made = self.world.platform.accounts.create_credential(self.operator, "theirs", **more)  # type: ignore[arg-type]
        return made.client_id, self.world.login(made.client_id, made.secret)

    def asks(self, method: str, path: str, headers: Headers | None = None, body: object = None) -> None:
        answer = self.there.http.request(method, path, headers=dict(headers or self.world.headers), json=body)
        assert answer.status_code in (200, 204), answer.text

    def told(self, count: int) -> list[dict[str, str]]:
        """The newest rows of the audit log about ends, once there are so many."""

        def rows() -> list[dict[str, object]]:
            found = self.world.platform.core.store.audit_log(limit=10_000)
            return [r for r in found if r["operation"] == "end_stream"]

        wait_until(lambda: len(rows()) >= count, timeout_s=PATIENCE_S, reason=f"{count} ends are in the audit log")
        return [dict(r["after"]) | {"subject": r["subject"], "actor": r["actor"]} for r in rows()]  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with World(tmp_path_factory.mktemp("held_open")) as world:
        quick(world)
        world.create()
        with served(world) as there:
            agent = PlayedAgent(there, "AMS")
            yield Place(world, there, agent)
            agent.close()


@pytest.fixture(scope="module")
def others(place: Place) -> Iterator[Opened]:
    """All that somebody else of the same account has open, to the end."""
    _, headers = place.credential()
    with contextlib.ExitStack() as left:
        yield place.opens(headers, left)


Cause = Callable[[Place], tuple[Headers, Callable[[], None], str]]


def signs_out(place: Place) -> tuple[Headers, Callable[[], None], str]:
    _, headers = place.person("signs-out")
    return headers, lambda: place.asks("POST", "/anypop/v1/sign-out", headers), "you have signed out"


def ends_a_token(place: Place) -> tuple[Headers, Callable[[], None], str]:
    _, headers = place.credential()
    return headers, lambda: place.asks("POST", "/anypop/v1/sign-out", headers), "you have signed out"


def credential_deleted(place: Place) -> tuple[Headers, Callable[[], None], str]:
    client, headers = place.credential()
    path = f"/identity/v1/users/me/credentials/{client}"
    return headers, lambda: place.asks("DELETE", path), "this credential was deleted"


def credential_renewed(place: Place) -> tuple[Headers, Callable[[], None], str]:
    client, headers = place.credential()
    path = f"/identity/v1/users/me/credentials/{client}/rotate"
    return headers, lambda: place.asks("POST", path), "this credential has a new secret"


def removed(place: Place) -> tuple[Headers, Callable[[], None], str]:
    user, headers = place.person("removed")
    path = f"/anypop/v1/accounts/{place.operator}/users/{user}"
    return headers, lambda: place.asks("DELETE", path), "you are in this account no more"


def credential_of_one_removed(place: Place) -> tuple[Headers, Callable[[], None], str]:
    user, _ = place.person("with-credential")
    _, headers = place.credential(user_id=user)
    path = f"/anypop/v1/accounts/{place.operator}/users/{user}"
    return headers, lambda: place.asks("DELETE", path), "you are in this account no more"


def password_changed(place: Place) -> tuple[Headers, Callable[[], None], str]:
    _, headers = place.person("changes-it")
    body = {"password": PASSWORD, "new": "quite another long one"}
    return headers, lambda: place.asks("POST", "/anypop/v1/password", headers, body), "the password was changed"


CAUSES: list[Cause] = [
    signs_out, ends_a_token, credential_deleted, credential_renewed, removed, credential_of_one_removed,
    password_changed,
]  # fmt: skip


@pytest.fixture
def left() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("cause", CAUSES, ids=lambda c: c.__name__)
def test_all_that_is_open_ends_with_what_let_it_in_and_nothing_else(
    place: Place, others: Opened, left: contextlib.ExitStack, cause: Cause
) -> None:
    headers, ends, words = cause(place)
    known = len(place.told(0))
    theirs = place.opens(headers, left)
    ends()
    why = theirs.why(*ALL)
    assert all(said.startswith(words) for said in why.values()), why
    place.lives(others)
    rows = place.told(known + len(ALL))[known:]
    assert {row["of"] for row in rows} == set(ALL)
    assert {row["why"] for row in rows} == set(why.values())
    assert {row["subject"] for row in rows if row["of"] in SOCKETS} == {INSTANCE}


def test_a_role_that_is_taken_away_ends_what_needs_it_and_leaves_the_rest(
    place: Place, others: Opened, left: contextlib.ExitStack
) -> None:
    """An editor who is a viewer from now on reads on, and runs no command any more."""
    user, headers = place.person("lowered")
    theirs = place.opens(headers, left)
    place.asks("PATCH", f"/anypop/v1/accounts/{place.operator}/users/{user}", None, {"role": "viewer"})
    why = theirs.why(*SOCKETS)
    assert set(why.values()) == {"this needs the role editor, and here you have viewer"}
    place.lives(theirs, *READ)
    place.lives(others)


def test_a_session_and_a_credential_end_by_the_clock(place: Place) -> None:
    """By a timer: nothing happens meanwhile. The hour of a credential's token is no end."""
    accounts, clock = place.world.platform.accounts, place.world.clock
    _, lasting = place.credential()
    _, of_person = place.person("works-late")
    # the clock stands: a second of a test goes by from when each is opened
    clock.now += TOKEN_LIFE_S - 1
    goes_on = Read(place.there, EVENTS, lasting)
    assert goes_on.begun.wait(PATIENCE_S)
    clock.now += SESSION_LIFE_S - TOKEN_LIFE_S
    try:
        assert Read(place.there, EVENTS, of_person).why() == SESSION_OVER
        made = accounts.create_credential(place.operator, "ends", expires_at=clock.now + 1)
        assert Read(place.there, EVENTS, place.world.login(made.client_id, made.secret)).why() == CREDENTIAL_OVER
        assert not goes_on.over.is_set()
        accounts.users.read()  # whatever else changes: it is looked at anew
        place.world.headers = place.world.login(place.world.credential.client_id, place.world.credential.secret)
        place.asks("GET", "/anypop/v1/who-am-i")
        assert not goes_on.over.is_set()
    finally:
        place.world.headers = place.world.login(place.world.credential.client_id, place.world.credential.secret)


@pytest.mark.parametrize("deleted", [False, True], ids=["suspended", "deleted"])
def test_an_account_that_lets_nobody_in_any_more_ends_all_that_is_open_there(
    place: Place, others: Opened, deleted: bool
) -> None:
    """By people and by programs; who is in another account too goes on there."""
    accounts = place.world.platform.accounts
    account = accounts.create_account(f"tenant {deleted}").id
    person = a_user(place.world, account, f"tenant-{deleted}", Role.OWNER)
    accounts.users.join(person, place.operator, Role.VIEWER)
    made = accounts.create_credential(account, "theirs")
    there = [session(place.world, person, account), place.world.login(made.client_id, made.secret)]
    elsewhere = session(place.world, person, place.operator)
    theirs, stays = ([Read(place.there, EVENTS, h) for h in headers] for headers in (there, [elsewhere]))
    assert all(one.begun.wait(PATIENCE_S) for one in (*theirs, *stays))
    if deleted:
        place.asks("DELETE", f"/anypop/v1/accounts/{account}?confirm=tenant True")
    else:
        place.asks("POST", f"/anypop/v1/accounts/{account}/suspend")
    assert {one.why() for one in theirs} == {DELETED if deleted else SUSPENDED}
    place.lives(others)
    assert not stays[0].over.is_set()


def test_what_ended_while_it_was_being_opened_is_refused(place: Place) -> None:
    """As a request is. No host is asked for longer than that."""
    client, headers = place.credential()
    caller = place.world.platform.accounts.caller(headers["authorization"].removeprefix("Bearer "))
    place.world.platform.accounts.delete_credential(place.operator, client)

    async def opened() -> bool:
        async with place.world.platform.held_open.hold(caller, "run_command", INSTANCE) as over:
            return over.done()

    assert place.world.run(opened())
