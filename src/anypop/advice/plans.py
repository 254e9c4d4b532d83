"""Plan files: what we announce, written down, so that a prediction needs no platform.

YAML: `asn`, and `sessions`, one for each neighbour of each PoP, `{pop: LHR, upstream: arelion, asn: 1299, kind:
transit, prepend: 2, communities: ["209:7100"], withhold: true}`; only `pop` and `asn` must be there. Text in,
`Announcements` out, and back. Every wrong field is reported with its line. Pure.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import yaml

from anypop.model.announce import AnyCommunity, Mode, Scope
from anypop.model.cities import city_of_pop
from anypop.model.errors import Invalid, Problem
from anypop.model.names import CityCode
from anypop.model.network import OTHER_NETWORKS, UpstreamKind
from anypop.model.scopes import MOST_PREPENDS, community_text, read_community, with_communities
from anypop.model.sessions import Announcements, Session

# The same in C, where it is: a hundred sessions take a tenth of a second otherwise.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_FIELDS = ("pop", "upstream", "asn", "kind", "prepend", "communities", "withhold")


def read(text: str, file: str) -> Announcements:
    """The plan in a YAML text. Raises `Invalid` with every problem."""
    try:
        root = yaml.compose(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise Invalid.one(f"{file}{line}", f"not YAML: {getattr(error, 'problem', error)}") from error
    reader = _Reader(file)
    found = reader.plan(root)
    if reader.problems:
        raise Invalid(sorted(reader.problems, key=lambda problem: int(problem.path.rpartition(":")[2])))
    return found


def write(announcements: Announcements) -> str:
    """The YAML text of a plan: a line for each session, what is plain left out."""
    lines = [f"asn: {announcements.asn}", "sessions:"]
    for session in announcements.sessions:
        fields: dict[str, Any] = {"pop": session.pop, "upstream": session.upstream, "asn": session.asn}
        if session.kind is not UpstreamKind.TRANSIT:
            fields["kind"] = session.kind.value
        if session.scope.prepend:
            fields["prepend"] = session.scope.prepend
        if told := session.scope.every_community:
            fields["communities"] = [community_text(c) for c in told]
        if session.scope.mode is Mode.WITHHOLD:
            fields["withhold"] = True
        lines.append("  - " + yaml.safe_dump(fields, default_flow_style=True, sort_keys=False, width=10_000).strip())
    return "\n".join(lines) + "\n"


class _Reader:
    """Goes on after every error."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def plan(self, root: yaml.Node | None) -> Announcements:
        fields = self.mapping(root, ("asn", "sessions"), "a plan")
        asn = self.number(fields, "asn", root, 1, 0xFFFFFFFF)
        rows = fields.get("sessions")
        if rows is not None and not isinstance(rows, yaml.SequenceNode):
            self.wrong(rows, "sessions must be a list")
        sessions: list[Session] = []
        seen: dict[tuple[str, str], int] = {}
        for node in rows.value if isinstance(rows, yaml.SequenceNode) else ():
            session = self.session(node)
            if session is None:
                continue
            first = seen.setdefault((session.pop, session.upstream), node.start_mark.line + 1)
            if first != node.start_mark.line + 1:
                self.wrong(node, f"{session.pop} has an upstream {session.upstream} in line {first} already")
            sessions.append(session)
        if not sessions and not self.problems:
            self.wrong(root, "no session: nothing would be announced")
        return Announcements(asn=asn or 0, sessions=tuple(sessions))

    def session(self, node: yaml.Node) -> Session | None:
        before = len(self.problems)
        fields = self.mapping(node, _FIELDS, "a session")
        pop = self.text(fields, "pop").upper()
        asn = self.number(fields, "asn", node, 1, 0xFFFFFFFF)
        if "pop" not in fields:
            self.wrong(node, "pop is missing")
        elif city_of_pop(pop) is None:
            self.wrong(fields["pop"], f"'{pop}' is no city code")
        kind = self.text(fields, "kind") or UpstreamKind.TRANSIT.value
        if kind not in OTHER_NETWORKS:
            self.wrong(fields["kind"], f"kind '{kind}' is none of {', '.join(OTHER_NETWORKS)}")
        prepend = self.number(fields, "prepend", node, 0, MOST_PREPENDS) if "prepend" in fields else 0
        withhold = self.text(fields, "withhold") or "false"
        if withhold not in ("true", "false"):
            self.wrong(fields["withhold"], "withhold must be true or false")
        mode = Mode.WITHHOLD if withhold == "true" else Mode.ANNOUNCE
        communities = list(self.communities(fields))
        if len(self.problems) > before or asn is None:
            return None
        return Session(
            pop=CityCode(pop),
            upstream=self.text(fields, "upstream") or f"as{asn}",
            asn=asn,
            kind=UpstreamKind(kind),
            scope=replace(with_communities(Scope(prepend=prepend or 0), communities), mode=mode),
        )

    def communities(self, fields: dict[str, yaml.Node]) -> Iterator[AnyCommunity]:
        node = fields.get("communities")
        if node is not None and not isinstance(node, yaml.SequenceNode):
            self.wrong(node, "communities must be a list")
        for item in node.value if isinstance(node, yaml.SequenceNode) else ():
            try:
                yield read_community(str(item.value))
            except ValueError as error:
                self.wrong(item, str(error))

    def mapping(self, node: yaml.Node | None, known: tuple[str, ...], what: str) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.wrong(node, f"{what} must be fields: {', '.join(known)}")
            return {}
        fields = {str(key.value): value for key, value in node.value}
        for key, _ in node.value:
            if key.value not in known:
                self.wrong(key, f"'{key.value}' is not a field of {what}: {', '.join(known)}")
        return fields

    def text(self, fields: dict[str, yaml.Node], name: str) -> str:
        node = fields.get(name)
        if node is not None and not isinstance(node, yaml.ScalarNode):
            self.wrong(node, f"{name} must be one value")
            return ""
        return str(node.value).strip() if node is not None else ""

    def number(
        self, fields: dict[str, yaml.Node], name: str, around: yaml.Node | None, low: int, high: int
    ) -> int | None:
        if name not in fields:
            if around is not None and isinstance(around, yaml.MappingNode):
                self.wrong(around, f"{name} is missing")
            return None
        text = self.text(fields, name).upper().removeprefix("AS")
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and low <= int(text) <= high):
            self.wrong(fields[name], f"{name} must be a number from {low} to {high}")
            return None
        return int(text)

    def wrong(self, node: yaml.Node | None, message: str) -> None:
        line = node.start_mark.line + 1 if node is not None else 1
        self.problems.append(Problem(path=f"{self.file}:{line}", message=message))
