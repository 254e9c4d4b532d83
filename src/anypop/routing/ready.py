"""`python -m anypop.routing.ready`: compiles every kernel once, so that nobody's first question waits for it.

The set-up runs it. In: a small graph made up here. Out: machine code beside the source (`engine/kernel_files`), which
all users of the installation may read. It works out one question of each kind, since a kernel is compiled for the
types that it is given.
"""

import sys
from pathlib import Path

from anypop.model.announce import Scope
from anypop.model.names import CityCode
from anypop.model.sessions import Announcements, Session
from anypop.routing.catchment.predict import predict
from anypop.routing.catchment.search import search
from anypop.routing.catchment.strays import find_strays
from anypop.routing.engine import columns, kernel_files
from anypop.routing.engine.compiled import keep
from anypop.routing.engine.propagate import Engine
from anypop.routing.engine.spread import spread
from anypop.routing.internet.generate import generate
from anypop.routing.internet.world import build_internet

_NETWORKS = 60


def compile_all(place: Path | None) -> None:
    """One question of each kind; and where there is a place, what a first one asks for is kept as bare machine code."""
    made = generate(_NETWORKS, 1)
    internet = build_internet(made.relationships, made.places)
    engine = Engine(internet)
    asns = [int(asn) for asn in internet.asns[:3]]
    for communities in ((), ((65535, 0),)):  # graceful shutdown: a preference that every network knows
        told = Announcements(
            asn=64500,
            sessions=tuple(
                Session(pop=CityCode(pop), upstream=f"AS{asn}", asn=asn, scope=Scope(communities=communities))
                for pop, asn in zip(("AMS", "JFK", "SIN"), asns, strict=True)
            ),
        )
        found = predict(engine, told)
        search(engine, found, threads=1)
        find_strays(engine, found, far_km=0.0)
        if place is not None and not communities:
            prepared = engine.prepare(found.outcome.seeds)
            keep(spread, (engine.graph, prepared.sown, prepared.actions, engine.state, True), place)
            out = columns.empty(len(engine.place))
            keep(columns.fill, (engine.graph, engine.state, engine.place, out, False), place)


def main() -> int:
    """Compile, and open the files to readers."""
    place = kernel_files.folder()
    compile_all(place)
    if place is None:
        sys.stderr.write("no folder for compiled code can be written here: each process compiles for itself\n")
        return 1
    if place == kernel_files.beside():
        kernel_files.set_whole(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
