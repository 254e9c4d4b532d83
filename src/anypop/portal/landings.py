"""Where vantages, or networks by the model, land: rows of a table and the picture of them. Pure.

In: what the API tells of PoPs, vantages, the newest test and the newest rollout, or of a prediction. Out: a `Row` for
each place and a `Picture`. The newest word counts, a test's or a rollout's look. A place is astray when it lands more
than `FAR_KM` beyond its nearest PoP, as for the doctor: what is nearer than that has nothing to be mended.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from anypop.picture.landing_map import Flight, Picture, Site
from anypop.picture.world import distance_km

Data = Mapping[str, Any]

FAR_KM = 1500.0
STYLES = {"trusted": "good", "drained": "way", "unknown": "off"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One place. `pop` empty: nobody answered it; `known` False: it was not asked, or could not ask. `was`: where it
    lands now, of one that a plan would move.
    """

    name: str
    city: str
    code: str
    asn: int
    latitude: float | None
    longitude: float | None
    pop: str
    nearest: str
    extra_km: float | None
    known: bool = True
    was: str = ""
    answered: int | None = None
    asked: int | None = None
    median_ms: float | None = None

    @property
    def astray(self) -> bool:
        return self.known and self.extra_km is not None and self.extra_km > FAR_KM

    @property
    def word(self) -> tuple[str, str]:
        """How it is in a word, and the style of that."""
        if not self.known:
            return "Not asked", "off"
        if not self.pop:
            return "No answer", "bad"
        if self.astray:
            return "Astray", "bad"
        return ("At home", "good") if self.pop == self.nearest or self.extra_km == 0 else ("Near", "good")


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All rows of one moment. `at`: seconds since the epoch, None: nobody has looked yet; `how`: by what."""

    rows: tuple[Row, ...]
    at: float | None
    how: str

    @property
    def astray(self) -> int:
        return sum(row.astray for row in self.rows)


def seconds(at: str) -> float:
    """A moment of the API, since the epoch."""
    return datetime.fromisoformat(at).timestamp()


def seen(pops: Sequence[Data], vantages: Sequence[Data], test: Data | None, rollout: Data | None, now: float) -> Seen:
    """What is newest: the test, or where the rollout's vantages landed in its last look."""
    places = {str(one["pop"]): _at(one["location"]) for one in pops}
    tested = {row["vantage"]: row for row in test["results"]} if test else {}
    looked = (rollout or {}).get("vantages") or {}
    ended = (rollout or {}).get("endedAt")
    at = float(test["at"]) if test else None
    by_rollout = seconds(ended) if ended else now
    newer = bool(looked) and (at is None or by_rollout > at)
    rows = tuple(_row(one, places, tested.get(one["name"]), looked if newer else None) for one in vantages)
    if newer:
        return Seen(rows=rows, at=by_rollout, how="a look of the rollout")
    return Seen(rows=rows, at=at, how=f"a test of {test['requests']} requests each" if test else "")


def _row(vantage: Data, places: Mapping[str, Any], tested: Data | None, looked: Data | None) -> Row:
    name, here = str(vantage["name"]), _at(vantage)
    was: Data = tested or {}
    nearest = str(was.get("nearest") or vantage.get("nearest") or "")
    known = name in looked if looked is not None else bool(was.get("asked"))
    pop = str((looked.get(name) if looked is not None else was.get("pop")) or "")
    figures = was if looked is None else {}
    return Row(
        name=name, city=str(vantage.get("city_name", vantage["city"])), code=str(vantage["city"]),
        asn=int(vantage["asn"]), latitude=here[0] if here else None, longitude=here[1] if here else None,
        pop=pop, nearest=nearest, known=known, extra_km=_extra(here, places.get(pop), places.get(nearest)),
        answered=figures.get("answered"), asked=figures.get("asked"), median_ms=figures.get("median_ms"),
    )  # fmt: skip


def foreseen(
    pops: Sequence[Data], vantages: Sequence[Data], where: Mapping[str, str | None], moment: float, how: str
) -> Seen:
    """The vantages as they land when each lands `where` it is said."""
    places = {str(one["pop"]): _at(one["location"]) for one in pops}
    return Seen(rows=tuple(_row(one, places, None, where) for one in vantages), at=moment, how=how)


def predicted(found: Data, moment: float) -> Seen:
    """The biggest networks as the model has them: one row for those of one city that land in one PoP, and by a plan
    come from one.
    """
    rows: dict[tuple[str, str, str], Row] = {}
    for one in found["biggest"]:
        here = _at(one)
        if here is None:
            continue
        pop = str(one["pop"] or "")
        was = str(one.get("was") or "")
        key = (str(one["city"]), pop, was if was != pop else "")
        name = f"AS{one['asn']}" if key not in rows else f"{rows[key].name.partition(' ')[0]} and more"
        rows[key] = Row(
            name=name, city=key[0], code=key[0], asn=int(one["asn"]), latitude=here[0], longitude=here[1],
            pop=pop, was=key[2], nearest=str(one["nearest"] or ""), extra_km=one["extra_km"],
        )  # fmt: skip
    return Seen(rows=tuple(rows.values()), at=moment, how=f"predicted, {found['graph']}")


def picture(
    title: str,
    pops: Iterable[Data],
    told: Seen,
    *,
    own: str,
    by_model: bool = False,
    shares: Mapping[str, float] = MappingProxyType({}),
) -> Picture:
    """`own`: the address of the page, whose `why` explains a place. `shares`: of all traffic, by PoP."""
    at = datetime.fromtimestamp(told.at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if told.at is not None else ""
    caption = f"{at}, {told.how}" if at else "Nobody has looked yet where vantages land"
    if not by_model and at:
        caption += "; measured, nothing in it is predicted"
    sites = tuple(
        Site(
            code=str(one["pop"]),
            latitude=here[0],
            longitude=here[1],
            style=style(one),
            says=_says(one),
            share=shares.get(str(one["pop"]), 0.0),
        )
        for one in pops
        if (here := _at(one["location"])) is not None
    )
    flights = tuple(
        Flight(
            name=row.name, latitude=row.latitude, longitude=row.longitude, pop=row.pop, astray=row.astray,
            says=words(row), by_model=by_model, was=row.was,
            link="" if by_model else f"{own}&{urlencode({'why': row.name})}#why",
        )
        for row in told.rows
        if row.latitude is not None and row.longitude is not None and row.known
    )  # fmt: skip
    return Picture(title=title, caption=caption, sites=sites, flights=flights)


def words(row: Row) -> str:
    if not row.pop:
        return f"{row.name} in {row.city}: nobody answers"
    beyond = f", {row.extra_km:,.0f} km beyond {row.nearest}" if row.extra_km else ""
    before = f", now in {row.was}" if row.was else ""
    return f"{row.name} in {row.city} lands in {row.pop}{beyond}{before}"


def style(pop: Data) -> str:
    """How a PoP is shown; one whose report is not to be believed is not known."""
    known = STYLES.get(str(pop["verdict"]), "off")
    sessions = pop["sessions"]
    if known == "good" and sessions and not any(s["state"] == "established" for s in sessions):
        return "bad"
    return known


def _says(pop: Data) -> str:
    there = pop["instances"]
    return f"{pop['city']} ({pop['pop']}): {pop['says']}, {there['healthy']} of {there['total']} instances healthy"


def _at(one: Data) -> tuple[float, float] | None:
    if one.get("latitude") is None or one.get("longitude") is None:
        return None
    return float(one["latitude"]), float(one["longitude"])


def _extra(here: Any, landed: Any, nearest: Any) -> float | None:
    if here is None or landed is None or nearest is None:
        return None
    return round(distance_km(here, landed) - distance_km(here, nearest), 1)
