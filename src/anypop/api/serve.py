"""The control process: store, core, certificate, sockets, HTTPS server, from start to a quick and orderly end.

In: what the command line says. Out: a running server until SIGTERM or SIGINT; then waiting agents and watchers are
answered first, so that it ends within a second. It writes the files by which others find it: agents' tokens and the
client file.
"""

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import uvicorn
import yaml

from anypop.api import certificates, door, listen, storing
from anypop.api.app import make_app
from anypop.api.client_files import write_client, write_scraper
from anypop.api.connection import Connection
from anypop.api.context import Platform
from anypop.api.graphs import Graphs
from anypop.api.landings import keep_looking
from anypop.api.server import Server
from anypop.api.tls import Contexts
from anypop.control import acts, ca, collector, first_start, oidc_settings
from anypop.control.accounts import Accounts
from anypop.control.acts import Act
from anypop.control.authority import shared_authority
from anypop.control.core import Core
from anypop.control.lease import Lease
from anypop.control.metrics import settings as metrics_settings
from anypop.control.metrics.settings import MetricsSettings
from anypop.control.network import change_network
from anypop.control.standby import Standby, keep
from anypop.control.state import State
from anypop.control.store import Store, open_store
from anypop.control.usage import Metering
from anypop.host import log_files
from anypop.model.errors import WorldError
from anypop.model.names import OWN_CA, CityCode
from anypop.model.network import Network, network_from
from anypop.model.steady import SteadyClock
from anypop.model.streams import LARGEST_FRAME
from anypop.plan.fields import location
from anypop.plan.price import default_book_text, read_price_book

if TYPE_CHECKING:
    from anypop.control.oidc_provider import Provider

log = logging.getLogger("anypop.api")

IMAGES_LOOKED_AT_EVERY_S = 3600.0

# Whoever may start control may do what its command line says.
STARTED = Act(actor="control", operator=True, operation="start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the command line says. `network` and `prices` are files of the operator; `lab` is a lab's folder, `graph`
    the one of graph.yaml (None: the state folder). `certificate` and `key`: files of the public certificate;
    `acme`: who signs it;
    `oidc`: a file, the provider of sign-ins. `metrics`: a file, the store of metrics; `scrape_file`: where a credential
    for it is written.
    """

    state: Path
    listen: tuple[listen.ListenAddress, ...]
    network: Path | None = None
    prices: Path | None = None
    lab: Path | None = None
    graph: Path | None = None
    client_file: Path | None = None
    bounds: door.Bounds = field(default_factory=door.Bounds)
    answers_at: str = ""
    certificate_days: float = 90
    public_names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    acme: certificates.Acme | None = None
    oidc: Path | None = None
    metrics: Path | None = None
    scrape_file: Path | None = None


def serve(settings: Settings) -> None:
    """Run until a signal ends it. Raises `WorldError` and `Invalid` for what is in the way at start."""
    os.umask(0o077)
    collector.seldom()
    door.Door.bounds = door.prepare(settings.bounds)
    clock = SteadyClock(time.time, time.monotonic)
    public = certificates.public_of(
        settings.public_names,
        state=settings.state,
        certificate=settings.certificate,
        key=settings.key,
        acme=settings.acme,
        now=clock,
    )
    provider = _provider(settings.oidc, clock) if settings.oidc is not None else None
    metrics = metrics_settings.read(settings.metrics) if settings.metrics is not None else None
    with _in_words(f"use the folder {settings.state}"):
        settings.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _only_one(settings.state), contextlib.ExitStack() as open_sockets:
        # Sockets first: a taken port must be known before anything is written.
        sockets = [
            open_sockets.enter_context(contextlib.closing(listen.open_socket(place))) for place in settings.listen
        ]
        if public.challenges is not None:
            public.challenges.open(open_sockets)
        first_start.make_apart(settings.state)
        store = open_store(settings.state, answers_at=settings.answers_at or _address(settings, sockets))
        try:
            deposed = asyncio.run(_run(settings, store, sockets, public, provider, metrics=metrics, clock=clock))
        finally:
            store.close()
    if deposed:
        _begin_again()


def _provider(file: Path, clock: SteadyClock) -> "Provider":
    from anypop.control.oidc_provider import Provider  # noqa: PLC0415 - its libraries are for those alone who want it

    return Provider(oidc_settings.read(file), now=clock)


@contextlib.contextmanager
def _in_words(what: str) -> Iterator[None]:
    """A file that cannot be read or written as one line for whoever starts control."""
    try:
        yield
    except OSError as error:
        raise WorldError(what, error.strerror or str(error)) from error
    except UnicodeDecodeError as error:
        raise WorldError(what, "it is not text") from error


@contextlib.contextmanager
def _only_one(state: Path) -> Iterator[None]:
    """Two control processes over one store would each give out generations: the lock goes with the process, however it
    ends.
    """
    with _in_words(f"use the folder {state}"):
        lock = (state / "lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise WorldError(f"start control in {state}", "another control process runs there; end it first") from error
        yield


async def _run(
    settings: Settings,
    store: Store,
    sockets: list[socket.socket],
    public: certificates.Public,
    provider: "Provider | None",
    *,
    metrics: MetricsSettings | None,
    clock: SteadyClock,
) -> bool:
    """Whether it ended since another control is the active one."""
    wanted = _network(settings.network)
    accounts = Accounts(store, clock)
    active = store.lease is None or store.lease.epoch > 0
    core = Core(store, store.load() if active else State(), clock)
    if active:
        await core.start()
    else:
        await core.follow()
    try:
        if wanted is not None and active:
            with acts.acting(replace(STARTED, at=clock())):
                await core.change(change_network(wanted))
        book = _prices(settings.prices, store)
        if active:
            Metering(store).begin(book, clock())
        renew = partial(_certificate, settings, store)
        with _in_words(f"keep certificates in {settings.state}"):
            credentials = renew()
        contexts = Contexts(credentials, public.shown)
        platform = Platform(
            core=core,
            accounts=accounts,
            clock=clock,
            prices=read_price_book(book),
            on_network=lambda hosts: accounts.agents.ensure_agents(
                settings.state / "agents", [host for host in hosts if not platform.joins.knows(host)]
            ),
            authority=settings.state,
            provider=provider,
            certificate_life_s=settings.certificate_days * 86_400,
            graphs=Graphs(folder=settings.graph or settings.state, lab=settings.lab, environment=dict(os.environ)),
        )
        if active:
            platform.on_network(platform.hosts())
            _attach_lab(platform, settings.lab)
            with acts.acting(replace(STARTED, at=clock())):
                _bootstrap(settings, accounts, credentials, sockets)
        server = Server(
            server_config(platform), core, [contexts.own if p.own_ca else contexts.named for p in settings.listen]
        )
        gc.freeze()  # what start-up made lives to the end: the collector need not walk over it again
        # the table of cities takes 60 ms to read
        warm = asyncio.create_task(asyncio.to_thread(location, CityCode("LHR")))
        beside = [
            asyncio.create_task(certificates.keep_own(contexts, renew)),
            asyncio.create_task(_keep_logs_small(settings.lab)),
            asyncio.create_task(_keep_images(platform)),
        ]
        beside += storing.begin(platform, metrics)
        if public.keeper is not None:
            beside.append(asyncio.create_task(certificates.keep_public(public, platform)))
        if store.lease is not None:
            if not active:
                platform.standby = Standby(core, accounts, store.lease)
            takes_over = partial(
                _take_over, settings, store,
                platform=platform, wanted=wanted, credentials=credentials, sockets=sockets,
            )  # fmt: skip
            beside.append(asyncio.create_task(_hold(platform, store.lease, takes_over, server)))
        if platform.vantages is not None:
            beside.append(asyncio.create_task(keep_looking(platform)))
        try:
            await server.serve(sockets=sockets)
        finally:
            platform.workers.close()
            for task in beside:
                task.cancel()
            await warm
    finally:
        await core.stop()
    return server.deposed


def server_config(platform: Platform) -> uvicorn.Config:
    return uvicorn.Config(
        make_app(platform),
        http=Connection,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=LARGEST_FRAME + 1,
        ws_per_message_deflate=False,
        server_header=False,
        timeout_keep_alive=75,  # above an agent's longest wait, so that its connection lives from poll to poll
        timeout_graceful_shutdown=1,
    )


async def _keep_images(platform: Platform) -> None:
    """Go on with images of virtual machines that are half here; then take away files that nobody needs. A standby has
    none of this to do, and goes on with them when it takes over.
    """
    try:
        if platform.standby is None:
            await asyncio.to_thread(platform.machine_images.begin)
        while True:
            if platform.standby is None:
                try:
                    await asyncio.to_thread(platform.machine_images.collect)
                except (OSError, WorldError) as error:
                    log.warning("images of virtual machines are not looked through now: %s", error)
            await asyncio.sleep(IMAGES_LOOKED_AT_EVERY_S)
    finally:
        platform.machine_images.stop()


async def _keep_logs_small(lab: Path | None) -> None:
    """This process's own; in a lab those of its routers and of everything that `anypop up` started."""

    def cut() -> None:
        files = log_files.own()
        if lab is not None:
            files += [*lab.rglob("*.log"), *(lab.parent / "log").glob("*.log")]
        log_files.cut(files)

    while True:
        await asyncio.to_thread(cut)
        await asyncio.sleep(log_files.LOOKED_AT_EVERY_S)


async def _hold(platform: Platform, lease: Lease, takes_over: Callable[[], Awaitable[None]], server: Server) -> None:
    """Stand by until the lease is free, be active while it is ours, and end when another control has become it."""
    try:
        if platform.standby is not None:
            await takes_over()
        await keep(lease, server.depose)
    except Exception:
        log.exception("this control can neither be the active one nor stand by: it begins again")
        server.depose()


async def _take_over(
    settings: Settings,
    store: Store,
    *,
    platform: Platform,
    wanted: Network | None,
    credentials: ca.Credentials,
    sockets: list[socket.socket],
) -> None:
    assert platform.standby is not None
    await platform.standby.follow(partial(store.prepare, settings.state))
    if wanted is not None and not platform.core.state.network.pops:
        # whoever was active before has the newer one
        await platform.core.change(change_network(wanted))
    await asyncio.to_thread(platform.joins.read)
    platform.standby = None
    log.info("this control is the active one now")
    await asyncio.to_thread(platform.on_network, platform.hosts())
    _attach_lab(platform, settings.lab)
    await asyncio.to_thread(_bootstrap, settings, platform.accounts, credentials, sockets)
    await asyncio.to_thread(platform.machine_images.begin)


def _begin_again() -> None:
    """The same program anew: it finds out whether it stands by. Nothing of what it knew is worth keeping."""
    logging.shutdown()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _network(path: Path | None) -> Network | None:
    if path is None:
        return None
    what = f"read the network {path}"
    with _in_words(what):
        text = path.read_text(encoding="utf-8")
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise WorldError(what, f"it is not YAML: {error}") from error
    return network_from(data)


def _prices(path: Path | None, store: Store) -> str:
    """The text of the operator's file, else of the book that was last put over the API, else of Anypop's own."""
    if path is not None:
        with _in_words(f"read the price book {path}"):
            text = path.read_text(encoding="utf-8")
        read_price_book(text)
        return text
    saved = store.setting("price_book")
    return saved if saved is not None else default_book_text()


def _certificate(settings: Settings, store: Store) -> ca.Credentials:
    named = [name.removeprefix(OWN_CA) for name in settings.public_names]
    names = [*ca.local_names(), *(place.host for place in settings.listen), *named]
    if settings.answers_at and (answers := urlsplit(settings.answers_at).hostname):
        names.append(answers)
    if store.lease is not None:
        shared_authority(settings.state, store, datetime.now(UTC))
    return ca.ensure(settings.state, names, now=datetime.now(UTC))


def _attach_lab(platform: Platform, folder: Path | None) -> None:
    if folder is None:
        return
    from anypop.api.lab_vantages import attach  # noqa: PLC0415 - a real deployment has no lab and need not load one

    platform.vantages, platform.glass = attach(folder, lambda: platform.core.state.network)


def _bootstrap(
    settings: Settings, accounts: Accounts, credentials: ca.Credentials, sockets: list[socket.socket]
) -> None:
    """The first account, its stack, and the files that let others in."""
    account = accounts.first_account()
    stacks = accounts.stacks(account.id)
    stack = stacks[0] if stacks else accounts.create_stack(account.id, "default", "default")
    url = _address(settings, sockets)
    if settings.client_file is not None:
        write_client(accounts, settings.client_file, url=url, authority=credentials.ca, stack=stack.slug)
    if settings.scrape_file is not None:
        write_scraper(accounts, settings.scrape_file, url=url, authority=credentials.ca)


def _address(settings: Settings, sockets: list[socket.socket]) -> str:
    """Where this control answers, as seen from this machine."""
    host, port = next(
        (s.getsockname()[:2] for s, place in zip(sockets, settings.listen, strict=True) if place.namespace is None),
        sockets[0].getsockname()[:2],
    )
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"https://{f'[{host}]' if ':' in host else host}:{port}"
