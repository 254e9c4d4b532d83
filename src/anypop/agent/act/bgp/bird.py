"""The BIRD daemon of this PoP: started detached, found again, told its configuration, asked how it stands.

In: `SpeakerConfig`. Out: the configuration that runs (the daemon itself is asked which one that is), sessions, what
is really exported. A configuration is checked by the daemon before it is loaded, and taken back when what should
stand does not (`loading`). A session that cannot be is left out and told, and the others go on; what is refused
without any session leaves everything as it was. BIRD outlives this process; one that is stopped or hangs is ended, and
started anew like one that died.
"""

import contextlib
import json
import os
import re
import signal
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import NamedTuple

from anypop.agent.act.bgp import own_origin
from anypop.agent.act.bgp.accepted import flaws, refused
from anypop.agent.act.bgp.adj_rib_out import read_export
from anypop.agent.act.bgp.bfd import Bfd, wanted_of
from anypop.agent.act.bgp.config import Passwords, digest, render, sessions_of
from anypop.agent.act.bgp.loading import TakenBackError, kept, load
from anypop.agent.act.bgp.passwords import read_passwords
from anypop.agent.act.bgp.protocols import is_shut, read_sessions, read_tunnels, without_timers
from anypop.agent.act.bgp.session import without_restart
from anypop.agent.act.bgp.session_times import SessionTimes
from anypop.agent.act.bgp.tunnels import tunnel_name
from anypop.agent.act.bgp.words import session_name
from anypop.agent.decide.elements import SpeakerConfig
from anypop.host import birdc, process
from anypop.host.priority import run_before
from anypop.host.recorded import Recorded
from anypop.model.announce import Prefix
from anypop.model.codec import from_json, to_json
from anypop.model.errors import Invalid, WorldError
from anypop.model.report import Exported, SessionReport, TunnelReport

# One that is stopped keeps its sessions, since BFD is not its own: nobody is told anything, and neighbours wait for it
# when it is ended. One that does not answer may be busy: it gets many times what the largest table takes.
HUNG_S = 20.0
_TOLD_FOR_S = 60.0
_NICE = -15  # before all that tenants run; what it has to do takes it milliseconds, but for a full table
_ASK_S = 5.0  # an idle daemon answers in a millisecond; one that takes in a full table in well under a second
_FOREIGN = SpeakerConfig(asn=0, router_id=IPv4Address("0.0.0.0"), upstreams=())
_DIGEST = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeakerSeen:
    """How the speaker stands. `config` None: none runs; then `fallen` is what the one that died had to say, if we
    knew it. `answers` False: it runs and says nothing. `told`: how watched prefixes are really told. `bfd`: whether
    BFD hears the neighbour of a session, where it has one.
    """

    config: SpeakerConfig | None
    fallen: SpeakerConfig | None = None
    answers: bool = True
    sessions: tuple[SessionReport, ...] = ()
    exported: frozenset[tuple[Prefix, str]] = frozenset()
    told: tuple[tuple[Prefix, Exported], ...] = ()
    tunnels: tuple[TunnelReport, ...] = ()
    bfd: tuple[tuple[tuple[str, int], bool], ...] = ()
    error: str = ""

    @property
    def settled(self) -> bool:
        """Whether everything stands as it is ordered: what changes from there, BIRD writes into its log."""
        return (
            self.config is not None and self.answers and not self.error
            and all(session.state == "established" for session in self.sessions)
            and all(tunnel.up for tunnel in self.tunnels) and all(up for _, up in self.bfd)
            and len(self.exported) >= len(self.config.exports)
        )  # fmt: skip


class Heard(NamedTuple):
    """Of one configuration. `names`: upstream and family, by the name of the session in BIRD; `shut`: those that BIRD
    has shut.
    """

    names: Mapping[str, tuple[str, int]]
    sessions: tuple[SessionReport, ...]
    tunnels: tuple[TunnelReport, ...]
    shut: tuple[str, ...]


class Bird:
    """One daemon in `folder`: its configurations by digest, control socket, pid file. Blocking: call it in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._control = self.control = folder / "bird.ctl"
        self._line = birdc.Line(self._control)
        self._pid = folder / "bird.pid"
        self._daemon = Recorded(self._pid)
        self._log = self.log = folder / "bird.log"
        self._last: SpeakerConfig | None = None
        self._left: dict[str, str] = {}
        self._passwords: Passwords = {}
        self._digested: tuple[SpeakerConfig, Passwords, str] | None = None
        self._silent_since: float | None = None
        self._stopped: int | None = None  # the daemon that was seen to be stopped by the look before this one
        self._ended: tuple[float, str] = (0.0, "")
        self._shut: dict[str, float] = {}  # sessions that BIRD has shut, and since when we know
        self._known: tuple[SpeakerConfig, dict[str, str], str, Heard] | None = None
        self._settled: tuple[Heard, frozenset[tuple[Prefix, str]]] | None = None
        self._bfd = Bfd(folder / "bfd", self._control)
        self._times, self._answer = SessionTimes(), ("", "")

    def set(self, config: SpeakerConfig) -> None:
        """Make the daemon run exactly this but for sessions that it cannot have; start it if need be. Raises
        `WorldError` with BIRD's words when it refuses the rest.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        passwords, left = read_passwords(config)
        left |= flaws(config)
        name = digest(config, log=self._log, passwords=passwords)
        file = self._folder / f"{name}.conf"
        # what the digest stands for, for an agent that comes after us
        file.with_suffix(".json").write_bytes(to_json(config))
        # first, so that it takes over from a BIRD of an earlier version before any neighbour misses a packet
        self._bfd.set(wanted_of(config, left))
        try:
            self._load(self._write(file, config, passwords, left), config, passwords, left)
        except TakenBackError:
            self._bfd.set(wanted_of(self._last, self._left) if self._last is not None else ())
            raise
        except WorldError:
            left |= self._refused(config, passwords, left)
            self._load(self._write(file, config, passwords, left), config, passwords, left)
            self._bfd.set(wanted_of(config, left))
        file.with_suffix(".left").write_text(json.dumps(left))
        self._last, self._left, self._passwords = config, left, passwords
        self._link(file)
        self._sweep(name)

    def _write(self, file: Path, config: SpeakerConfig, passwords: Passwords, left: Mapping[str, str]) -> Path:
        """Readable by us alone: it may hold passwords."""
        text = render(
            config, log=self._log, passwords=passwords, left_out=left.keys(), as_before=self._without_restart()
        )
        handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            os.fchmod(handle, 0o600)
            stream.write(text)
        return file

    def _without_restart(self) -> frozenset[str]:
        """Sessions of a daemon that runs, as an older version of this program began them: they stay so until the
        daemon is started anew.
        """
        if self._daemon.pid() is None:
            return frozenset()
        asked = {n for n, (u, _) in sessions_of(self._last).items() if u.graceful_restart} if self._last else set()
        try:
            return without_restart((self._folder / "bird.conf").read_text()) - asked
        except OSError:
            return frozenset()

    def _load(self, file: Path, config: SpeakerConfig, passwords: Passwords, left: Collection[str]) -> None:
        if self._daemon.pid() is None:
            self._start(file)
            return
        others = {name for name, secret in passwords.items() if self._passwords.get(name) != secret}
        keep = kept(self._last, config, but={*others, *left, *self._left})
        load(self._control, file, name=file.stem, keep=keep, timeout_s=_ASK_S)

    def _refused(self, config: SpeakerConfig, passwords: Passwords, left: Mapping[str, str]) -> dict[str, str]:
        """The sessions that BIRD's parser refuses."""
        trial = self._folder / "trial.conf"

        def check(out: set[str]) -> None:
            self._write(trial, config, passwords, {**dict.fromkeys(out, ""), **left})
            process.run(["bird", "-p", "-c", str(trial)])

        try:
            return refused(config, left, check)
        finally:
            trial.unlink(missing_ok=True)

    def look(self) -> SpeakerSeen:
        """Ask the daemon. Never raises: a silent daemon is a fact like any other."""
        self._bfd.keep()
        pid = self._daemon.pid()
        if pid is None:
            return SpeakerSeen(config=None, fallen=self._last, error=self._lately())
        begun = time.monotonic()
        try:
            told = self._line.ask("eval anypop_digest", "show protocols all", timeout_s=_ASK_S)
        except WorldError as error:
            self._silent_since = begun if self._silent_since is None else self._silent_since
            if time.monotonic() - self._silent_since >= HUNG_S:
                self._end(f"BIRD did not answer for {HUNG_S:.0f} s: it was ended, and is started anew")
            return SpeakerSeen(config=self._last, answers=False, error=str(error))
        self._silent_since = None
        told = self._kept(told)
        try:
            config = self._config_of(told)
        except WorldError as error:
            return SpeakerSeen(config=self._last or _FOREIGN, answers=False, error=str(error))
        if config is None:
            return SpeakerSeen(config=_FOREIGN, error="BIRD runs a configuration that is not ours")
        self._last = config
        heard = self._heard(config, told)
        self._admit_again(config, heard.shut)
        exported = self._exported(config, heard)
        states, troubles = self._bfd.look()
        return SpeakerSeen(
            config=config,
            sessions=heard.sessions,
            exported=exported,
            told=self._told(config, exported),
            tunnels=heard.tunnels,
            bfd=tuple((way, up) for name, up in states.items() if (way := heard.names.get(name)) is not None),
            error="; ".join(filter(None, (own_origin.troubles(config, told, self._control), troubles)))
            or self._lately(),
        )

    def end_stopped(self) -> bool:
        """End the daemon when two looks in a row find it stopped; whether this one does. Waits for nothing: call it
        from any thread.
        """
        self._bfd.end_stopped()
        stopped = self._daemon.stopped_pid()
        if stopped is not None and stopped == self._stopped:
            self._end("BIRD was stopped by a signal: it was ended, and is started anew")
        self._stopped = stopped
        return stopped is not None

    def _end(self, why: str) -> None:
        """Its pid file stays: it died, and its neighbours may keep what they know of it."""
        pid, self._silent_since = self._daemon.pid(), None
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._ended = (time.monotonic(), why)

    def _lately(self) -> str:
        at, why = self._ended
        return why if why and time.monotonic() - at < _TOLD_FOR_S else ""

    def refill(self) -> None:
        """Put what was learnt into the kernel once more: somebody has taken some of it out."""
        if self._daemon.pid() is not None:
            birdc.ask(self._control, *(f"reload out kernel{family}" for family in (4, 6)), timeout_s=_ASK_S)

    def _kept(self, told: str) -> str:
        """An answer without what runs down in it, and with the times of sessions as they were first told: the very same
        text as long as nothing happens.
        """
        text = without_timers(told)
        if text != self._answer[0]:
            self._answer = text, self._times.kept(text, time.time() - time.monotonic())
        return self._answer[1]

    def _heard(self, config: SpeakerConfig, told: str) -> Heard:
        """What the daemon tells of its sessions; not read once more where it tells the same as the last time."""
        known = self._known
        if known is not None and known[0] is config and known[1:3] == (self._left, told):
            return known[3]
        named = sessions_of(config)
        names = {name: (upstream.name, family) for name, (upstream, family) in named.items()}
        peers = config.backbone.peers if config.backbone else ()
        heard = Heard(
            names=names, sessions=read_sessions(told, names, self._left),
            tunnels=read_tunnels(told, {tunnel_name(p): p.host for p in peers}) if peers else (),
            shut=tuple(name for name in named if is_shut(told, name)),
        )  # fmt: skip
        self._known = config, dict(self._left), told, heard
        return heard

    def _admit_again(self, config: SpeakerConfig, shut: Collection[str]) -> None:
        """A neighbour that told too much is shut out for some time; then it may try again."""
        now = time.monotonic()
        self._shut = {name: self._shut.get(name, now) for name in shut}
        if not shut:
            return
        known = sessions_of(config)
        for name, since in self._shut.items():
            if now >= since + known[name][0].imports.restart_after_s:
                with contextlib.suppress(WorldError):  # the next look tries again
                    birdc.ask(self._control, f"enable {name}", timeout_s=_ASK_S)

    def pid(self) -> int | None:
        """The daemon's process; None when it does not run."""
        return self._daemon.pid()

    def bfd_pid(self) -> int | None:
        """The process that has the BFD of its sessions; None when it does not run."""
        return self._bfd.pid()

    def _start(self, file: Path) -> None:
        process.run(["bird", "-p", "-c", str(file)])
        self._control.unlink(missing_ok=True)
        died = self._pid.exists()  # one that was ended has no pid file: its neighbours were told, and keep nothing
        argv = ["bird", "-f", *(["-R"] if died else []), "-c", str(file), "-s", str(self._control)]
        run_before(_NICE, process.spawn(argv, pid_file=self._pid, log=self._folder / "bird.out"))
        deadline = time.monotonic() + _ASK_S
        while True:
            try:
                birdc.ask(self._control, "show status", timeout_s=_ASK_S)
            except WorldError as error:
                if self._daemon.pid() is None or time.monotonic() > deadline:
                    raise WorldError(
                        "start BIRD", f"it does not answer; see {self._folder}/bird.out ({error.why})"
                    ) from error
                time.sleep(0.005)  # it opens its control socket some milliseconds after its start
            else:
                return

    def _config_of(self, told: str) -> SpeakerConfig | None:
        found = _DIGEST.search(told.partition("\n")[0])
        if found is None:
            return None
        if self._last is not None and self._digest(self._last) == found[0]:
            return self._last
        try:
            config = from_json(SpeakerConfig, (self._folder / f"{found[0]}.json").read_bytes())
        except (OSError, Invalid):
            return None
        if self._digest(config) != found[0]:
            # the daemon was told by an older version of this program, in other words, or a password is another one
            # now: say the same in ours
            self.set(config)
        else:
            self._left = _left_of(self._folder / f"{found[0]}.left")
        return config

    def _digest(self, config: SpeakerConfig) -> str:
        passwords = read_passwords(config)[0]
        known = self._digested
        if known is None or known[0] is not config or known[1] != passwords:  # it is asked for at each look
            known = self._digested = config, passwords, digest(config, log=self._log, passwords=passwords)
        return known[2]

    def _exported(self, config: SpeakerConfig, heard: Heard) -> frozenset[tuple[Prefix, str]]:
        """What is really sent. The daemon's own count settles the usual case, which stands as long as it says the same;
        where it differs, each prefix is asked for.
        """
        if self._settled is not None and self._settled[0] is heard:
            return self._settled[1]
        found: set[tuple[Prefix, str]] = set()
        upstreams, asked = {u.name: u for u in config.upstreams}, False
        for session in heard.sessions:
            if session.state != "established":
                continue
            listed = [
                e.prefix
                for e in config.exports
                if e.upstream == session.upstream and e.prefix.version == session.family
            ]
            if session.exported != len(listed):
                name, asked = session_name(upstreams[session.upstream], session.family), True
                listed = [p for p in listed if self._sends(p, name)]
            found |= {(prefix, session.upstream) for prefix in listed}
        exported = frozenset(found)
        self._settled = (heard, exported) if not asked else None
        return exported

    def _told(
        self, config: SpeakerConfig, exported: frozenset[tuple[Prefix, str]]
    ) -> tuple[tuple[Prefix, Exported], ...]:
        """How those are told over which a drain stands."""
        upstreams, found = {u.name: u for u in config.upstreams}, list[tuple[Prefix, Exported]]()
        for export in config.exports:
            if export.watched and (export.prefix, export.upstream) in exported:
                name = session_name(upstreams[export.upstream], export.prefix.version)
                with contextlib.suppress(WorldError):
                    said = birdc.ask(self._control, f"show route {export.prefix} export {name} all", timeout_s=_ASK_S)
                    really = read_export(said, str(export.prefix), asn=config.asn, upstream=export.upstream)
                    found += [(export.prefix, really)] if really is not None else []
        return tuple(found)

    def _sends(self, prefix: Prefix, session: str) -> bool:
        try:
            return str(prefix) in birdc.ask(self._control, f"show route {prefix} export {session}", timeout_s=_ASK_S)
        except WorldError:
            return False  # "Network not found" is an error reply

    def _link(self, file: Path) -> None:
        """bird.conf always names the configuration that runs, for people."""
        temporary = self._folder / "bird.conf.tmp"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(file.name)
        temporary.rename(self._folder / "bird.conf")

    def _sweep(self, keep: str) -> None:
        for old in (file for kind in ("conf", "json", "left") for file in self._folder.glob(f"*.{kind}")):
            if old.stem != keep and _DIGEST.fullmatch(old.stem):
                old.unlink(missing_ok=True)


def _left_of(file: Path) -> dict[str, str]:
    try:
        return {str(name): str(why) for name, why in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}
