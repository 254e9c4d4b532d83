"""Pictures of the world: where ways run, what stays readable, what a file has in it."""

from dataclasses import replace
from itertools import combinations, pairwise
from math import hypot
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from anypop.picture.arcs import Way, drawn
from anypop.picture.land import land
from anypop.picture.landing_map import Flight, Picture, Site, inside, whole
from anypop.picture.world import HEIGHT, WIDTH, around, distance_km, labels, place

LONDON, AMSTERDAM, NEW_YORK = (51.47, -0.46), (52.31, 4.76), (40.64, -73.78)
TOKYO, LOS_ANGELES = (35.77, 140.39), (33.94, -118.41)


def flight(name: str, at: tuple[float, float], pop: str, *, astray: bool = False) -> Flight:
    return Flight(name=name, latitude=at[0], longitude=at[1], pop=pop, astray=astray, says=name, link=f"?why={name}")


def picture(*flights: Flight) -> Picture:
    site = Site(code="JFK", latitude=NEW_YORK[0], longitude=NEW_YORK[1], style="good", says="New York")
    return Picture(title="A <title>", caption="2026, seen", sites=(site,), flights=flights)


def test_a_way_is_a_great_circle_from_place_to_place() -> None:
    """From London to New York it runs north of both, and is drawn from the one to the other."""
    ((line,),) = drawn((Way(begin=LONDON, end=NEW_YORK),))
    assert line[0] == place(*LONDON) and line[-1] == place(*NEW_YORK)
    assert min(y for _, y in line) < min(place(*LONDON)[1], place(*NEW_YORK)[1])
    assert 5530 < distance_km(LONDON, NEW_YORK) < 5560


def test_a_way_over_the_date_line_leaves_the_map_and_comes_back() -> None:
    """Two lines, and none of them crosses the whole world."""
    (lines,) = drawn((Way(begin=TOKYO, end=LOS_ANGELES),))
    assert len(lines) == 2
    for line in lines:
        assert all(hypot(a[0] - b[0], a[1] - b[1]) < 60 for a, b in pairwise(line))


def test_ways_from_one_side_run_together_and_from_others_do_not() -> None:
    """London's and Amsterdam's way to New York end as one line; that of Los Angeles stays its own."""
    london, amsterdam, west = (
        lines[0] for lines in drawn(tuple(Way(begin=b, end=NEW_YORK) for b in (LONDON, AMSTERDAM, LOS_ANGELES)))
    )
    assert london[0] != amsterdam[0]
    assert london[-15:] == amsterdam[-15:] and not set(london[-15:-1]) & set(west)
    alone = drawn((Way(begin=LOS_ANGELES, end=NEW_YORK),))[0][0]
    assert west == alone


def test_who_lands_at_home_has_no_way() -> None:
    assert drawn((Way(begin=NEW_YORK, end=NEW_YORK),)) == ((),)


@given(st.lists(st.tuples(st.floats(-60, 80), st.floats(-180, 180)), max_size=40))
def test_no_name_covers_another_or_a_place(places: list[tuple[float, float]]) -> None:
    points = [place(*one) for one in places]
    taken = [around(x, y) for x, y in points]
    boxes = [one.box for one in labels([("LHR", x, y) for x, y in points], taken) if one is not None]
    for a, b in (*combinations(boxes, 2), *((box, other) for box in boxes for other in taken)):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)


def test_what_strayed_is_told_without_colour_too() -> None:
    """Dashed, and its place is a diamond; the others are neither."""
    strayed, fine = flight("london", LONDON, "JFK", astray=True), flight("boston", (42.36, -71.0), "JFK")
    root = ElementTree.fromstring(whole(picture(strayed, fine), land()))
    found = {one.get("data-is"): one for one in root.iter() if one.get("data-is")}
    assert found["arc astray"].get("stroke-dasharray") and not found["arc"].get("stroke-dasharray")
    assert found["place astray"].tag.endswith("path") and found["place"].tag.endswith("circle")
    assert "A <title>" in "".join(root.itertext()) and "2026, seen" in "".join(root.itertext())


def test_no_text_of_anybody_is_markup() -> None:
    nasty = flight('"><script>x</script>', LONDON, "JFK", astray=True)
    drawing = inside(picture(nasty))
    assert "<script" not in drawing
    ElementTree.fromstring(f"<svg>{drawing}</svg>")


def test_ways_are_worked_out_once_and_are_the_same_as_if_they_were_worked_out_anew() -> None:
    """Other words and another moment leave them as they are; a place elsewhere does not."""
    first = picture(flight("london", LONDON, "JFK"), flight("amsterdam", AMSTERDAM, "JFK"))
    later = replace(first, caption="2027, seen", flights=tuple(replace(one, says="now") for one in first.flights))
    drawn.cache_clear()
    inside.cache_clear()
    kept = [inside(first), inside(later), inside(first)]
    assert drawn.cache_info().misses == 1 and inside.cache_info().misses == 2
    anew = []
    for one in (first, later, first):
        drawn.cache_clear()
        inside.cache_clear()
        anew.append(inside(one))
    assert kept == anew and kept[0] != kept[1]
    inside(replace(first, flights=(flight("london", TOKYO, "JFK"),)))
    assert drawn.cache_info().misses == 2
