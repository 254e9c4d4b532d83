"""A host's speaker and its neighbours, simulated: sessions, and what each neighbour holds of ours.

In: configurations (by the agent's steps), cables that break, deaths. Out: sessions as BIRD tells them, and `heard`:
what the neighbours believe at this moment, which is what draws traffic here. This is the one place where the world
beyond a host is modelled.
"""

from anypop.agent.decide.elements import Export, SpeakerConfig
from anypop.agent.decide.flaps import Way
from anypop.model.announce import GRACEFUL_SHUTDOWN, Prefix
from anypop.model.report import Exported, SessionReport
from tests.simulate.world import World

DETECTED_S = 0.15  # BFD: three times 50 ms
KEPT_S = 20.0  # graceful restart: a neighbour keeps what a speaker said that died, until it is back


class Neighbours:
    """The other ends of one host's sessions."""

    def __init__(self, world: World, name: str) -> None:
        self._world = world
        self._name = name
        self.config: SpeakerConfig | None = None
        self.since: dict[Way, float] = {}
        self.cut: set[Way] = set()
        self.heard: dict[tuple[Prefix, str], Export] = {}
        self._life = 0

    def told(self, config: SpeakerConfig, stamp: float) -> None:
        """The speaker runs this configuration from now on. `stamp`: the host's own time."""
        self.config = config
        wanted = self._ways(config)
        for way in [w for w in self.since if w not in wanted]:
            self._down(way)
        self._send()
        for way in wanted:
            if way not in self.since:
                self._connect(way, stamp)

    def died(self) -> None:
        """The speaker is gone; its neighbours keep what it said for a while."""
        self.config = None
        self.since.clear()
        self._life += 1

        def forget() -> None:
            self.heard = {k: e for k, e in self.heard.items() if (k[1], k[0].version) in self.since}

        self._world.after(KEPT_S, forget)

    def dark(self) -> None:
        """The whole host is gone."""
        self.config = None
        self.since.clear()
        self._life += 1
        self.heard.clear()

    def lose(self, way: Way) -> None:
        """A cable is cut."""
        self.cut.add(way)
        self._down(way)

    def mend(self, way: Way, stamp: float) -> None:
        self.cut.discard(way)
        if self.config is not None and way in self._ways(self.config):
            self._connect(way, stamp)

    def sessions(self) -> tuple[SessionReport, ...]:
        if self.config is None:
            return ()
        return tuple(
            SessionReport(
                upstream=name,
                family=family,
                state="established" if (since := self.since.get((name, family))) is not None else "active",
                since=since,
            )
            for name, family in sorted(self._ways(self.config))
        )

    def exported(self) -> frozenset[tuple[Prefix, str]]:
        """What is really sent now."""
        if self.config is None:
            return frozenset()
        exports = self.config.exports
        return frozenset((e.prefix, e.upstream) for e in exports if (e.upstream, e.prefix.version) in self.since)

    def told_how(self) -> dict[Prefix, tuple[Exported, ...]]:
        """How those prefixes are really told over which a drain stands."""
        found: dict[Prefix, tuple[Exported, ...]] = {}
        for (prefix, upstream), e in sorted(self.heard.items(), key=lambda item: (str(item[0][0]), item[0][1])):
            if e.watched and (upstream, prefix.version) in self.since:
                communities = (*e.communities, GRACEFUL_SHUTDOWN) if e.graceful else e.communities
                one = Exported(
                    upstream=upstream,
                    prepend=e.prepend,
                    communities=communities,
                    large_communities=e.large_communities,
                    extended_communities=e.extended_communities,
                )
                found[prefix] = (*found.get(prefix, ()), one)
        return found

    def _ways(self, config: SpeakerConfig) -> set[Way]:
        return {(u.name, v) for u in config.upstreams for v in (4, 6) if u.has_session(v)}

    def _connect(self, way: Way, stamp: float) -> None:
        life, begun = self._life, self._world.now

        def up() -> None:
            if self._life == life and self.config is not None and way not in self.cut and way not in self.since:
                self.since[way] = stamp + (self._world.now - begun)
                self._send()

        self._world.after(self._world.between(0.2, 1.5), up)

    def _down(self, way: Way) -> None:
        if self.since.pop(way, None) is not None:
            self._world.tell(self._name, f"the session with {way[0]} (IPv{way[1]}) is down")
        name, version = way
        self.heard = {k: e for k, e in self.heard.items() if k[1] != name or k[0].version != version}

    def _send(self) -> None:
        """Every session that stands holds exactly what is exported to it."""
        assert self.config is not None
        kept = {k: e for k, e in self.heard.items() if (k[1], k[0].version) not in self.since}
        sent = {(e.prefix, e.upstream): e for e in self.config.exports if (e.upstream, e.prefix.version) in self.since}
        self.heard = kept | sent
