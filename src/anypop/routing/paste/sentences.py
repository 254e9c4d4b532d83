"""The words about a pasted route: an `Explained` in, sentences and plain data out, for every face alike. Decides
nothing.
"""

from typing import Any

from anypop.model.route import Candidate, Step
from anypop.model.scopes import community_text
from anypop.routing.actions import Informational
from anypop.routing.dictionary import for_asn
from anypop.routing.paste.explained import MOST_PREPENDS, Explained, Outcome, duration, path_text, upstreams
from anypop.routing.paste.pasted import Style
from anypop.routing.paste.steps import CLUSTERS, ORDER, PREFERENCE, WEIGHT

_LATE = (CLUSTERS, Step.EBGP_OVER_IBGP, Step.NEAREST_EXIT, Step.OLDEST, Step.ROUTER_ID, Step.NEIGHBOR_ADDRESS)
_DEFAULT_TABLES = ("", "default", "inet.0", "inet6.0", "master", "master4", "master6")
_ACTIVE = "among equal external routes {maker} keeps the one that is active already"


def network(asn: int) -> str:
    """`AS209 (CenturyLink)`, with the name where a dictionary has one."""
    name = for_asn(asn).name.partition(" (")[0]
    return f"AS{asn} ({name})" if name else f"AS{asn}"


def meanings(candidate: Candidate) -> list[dict[str, str]]:
    """What its communities mean to the ASes of its path, by their dictionaries; each with whose word it is."""
    found = []
    for community in candidate.every_community:
        text = community_text(community)
        for asn in dict.fromkeys(candidate.as_path):
            entry = for_asn(asn).lookup(community)
            if entry is not None and not entry.invented:
                kind = "informational" if isinstance(entry.action, Informational) else "action"
                found.append(
                    {"community": text, "asn": str(asn), "kind": kind, "meaning": entry.meaning, "source": entry.source}
                )
                break
    return found


def sentences(explained: Explained) -> list[str]:
    """The explanation for people, the most important first."""
    lines = [f"First: {text}." for text in explained.notes]
    lines += [_choice(explained), *_equal(explained)]
    lines += [f"Note: {text}." for text in explained.disagrees]
    lines += _unused(explained)
    lines += _for_us(explained)
    if explained.best is not None:
        told = [row for row in meanings(explained.best) if row["kind"] == "informational"]
        lines += [
            f"The best route carries {row['community']}, by which AS{row['asn']} says: {row['meaning']}."
            for row in told
        ]
    return lines


def _choice(explained: Explained) -> str:
    best, rival, step = explained.best, explained.runner_up, explained.step
    maker = explained.style.says
    table = "" if explained.table in _DEFAULT_TABLES else f" ({explained.table})"
    where = f"{explained.prefix or explained.subject}{table}".lstrip()
    where = f"{where}: " if where else ""
    usable = [v for v in explained.outcomes if not v.route.unusable]
    if not ORDER[explained.style]:
        return (
            f"{where}each of these {len(usable)} routes is the choice of another router; none of them is the best of "
            "all."
        )
    if best is None and usable:
        return f"{where}which of these routes is the best cannot be told from this text."
    if best is None:
        return f"{where}{maker} can use none of these routes."
    verb = (
        f"{where}{maker} prefers"
        if explained.marked
        else f"{where}no route is marked as best; by {maker}'s rules it is"
    )
    if rival is None:
        return f"{verb} {path_text(best)}, the only route that it can use."
    names = [path_text(best), path_text(rival)]
    if names[0] == names[1]:
        names = [
            f"{name} of {c.neighbor}" if c.neighbor else name for name, c in zip(names, (best, rival), strict=True)
        ]
    among = "" if explained.whole else " Among the routes that are here, that is."
    if not explained.sure:
        return f"{verb} {names[0]} over {names[1]} by {step}, or by a step behind it: {_unshown(step)}.{among}"
    return f"{verb} {names[0]} over {names[1]} by {step}{_values(explained, best, rival)}.{among}"


def _unshown(step: str) -> str:
    return {
        Step.EBGP_OVER_IBGP.value: "the text does not show which routes are internal",
        Step.NEAREST_EXIT.value: "the text shows no costs to the next hops",
        Step.ROUTER_ID.value: "the text shows no router ids",
    }.get(step, "the text does not show what is compared here")


def _values(explained: Explained, best: Candidate, rival: Candidate) -> str:
    known = {id(v.route.candidate): v.route for v in explained.outcomes}
    match explained.step:
        case Step.LOCAL_PREFERENCE:
            return f": {best.local_pref} against {rival.local_pref}"
        case Step.AS_PATH_LENGTH:
            return f": {len(best.as_path)} against {len(rival.as_path)}"
        case Step.ORIGIN:
            return f": {best.origin} against {rival.origin}"
        case Step.MED:
            return f": {best.med} against {rival.med}, both from AS{best.as_path[0]}" if best.as_path else ""
        case Step.NEAREST_EXIT:
            return f": {best.igp_metric} against {rival.igp_metric}"
        case Step.OLDEST:
            return f": {_ACTIVE.format(maker=explained.style.says)}" if explained.marked else ""
        case Step.ROUTER_ID:
            ids = [known[id(c)].originator or c.router_id for c in (best, rival)]
            return f": {ids[0]} against {ids[1]}" if all(ids) else ""
        case Step.NEIGHBOR_ADDRESS if best.neighbor and rival.neighbor:
            return f": {best.neighbor} against {rival.neighbor}"
        case Step.NEIGHBOR_ADDRESS:
            return ", or by something that the text does not show"
        case text if text in (WEIGHT, PREFERENCE):
            sign = -1 if text == PREFERENCE and explained.style is Style.JUNOS else 1
            return f": {sign * known[id(best)].precedence} against {sign * known[id(rival)].precedence}"
        case text if text == CLUSTERS and known[id(best)].clusters != known[id(rival)].clusters:
            return f": {known[id(best)].clusters} against {known[id(rival)].clusters}"
        case _:
            return ""


def _equal(explained: Explained) -> list[str]:
    """What did not decide, where people would look first."""
    rivals = [v.route.candidate for v in explained.outcomes if not v.route.unusable]
    lines = []
    lengths = {len(c.as_path) for c in rivals}
    if explained.step not in _LATE:
        return []
    if len(rivals) > 1 and len(lengths) == 1:
        number = "both" if len(rivals) == 2 else f"all {len(rivals)}"
        lines.append(f"The AS paths of {number} routes are equally long ({lengths.pop()}).")
    neighbours = [c.as_path[0] for c in rivals if c.as_path]
    if len({c.med for c in rivals}) > 1 and len(set(neighbours)) == len(neighbours):
        values = ", ".join(str(c.med) for c in rivals)
        lines.append(f"MED ({values}) was not compared: each route is from another neighbour AS.")
    return lines


def _unused(explained: Explained) -> list[str]:
    return [
        f"Line {v.route.line}: {path_text(v.route.candidate)} takes no part: {v.route.unusable}."
        for v in explained.outcomes
        if v.route.unusable
    ]


def _for_us(explained: Explained) -> list[str]:
    ours = explained.asn
    if ours is None:
        paths = any(v.route.candidate.as_path for v in explained.outcomes)
        return ["The paths end in different ASes; say which one is yours with --asn."] if paths else []
    foreign = [v for v in explained.outcomes if v.route.candidate.as_path and v.route.candidate.as_path[-1] != ours]
    if len(foreign) == len(explained.outcomes):
        return [f"None of these paths ends in AS{ours}: they are no announcement of yours."]
    lines = []
    best = next((v for v in explained.outcomes if v.route.candidate is explained.best), None)
    if best is not None and best not in foreign:
        lines.append(_way(explained, best))
    counts = upstreams(explained)
    if counts:
        shares = ", ".join(
            f"{network(asn)} {count}" + (" (the best)" if best and asn == best.upstream else "")
            for asn, count in counts.most_common()
        )
        lines.append(f"Routes by upstream of AS{ours}: {shares}.")
    lines += _prepends(explained)
    lines += _moves(explained)
    lines += [
        f"Line {v.route.line} ends in AS{v.route.candidate.as_path[-1]}, not in AS{ours}: somebody else announces this "
        "prefix too."
        for v in foreign
    ]
    return lines


def _prepends(explained: Explained) -> list[str]:
    told = []
    for upstream in upstreams(explained):
        counts = {v.prepends for v in explained.outcomes if v.upstream == upstream}
        if max(counts):
            numbers = " or ".join(map(str, sorted(counts)))
            told.append(
                f"Towards {network(upstream)}, AS{explained.asn} is prepended {numbers} "
                f"{'time' if counts == {1} else 'times'}."
            )
    return told


def _way(explained: Explained, best: Outcome) -> str:
    path = best.route.candidate.as_path
    if not path:
        return f"The router has it inside its own network: it is in AS{explained.asn}."
    if best.upstream is None:
        return f"All traffic of this router towards it goes straight to AS{explained.asn}."
    if path[0] == best.upstream:
        return f"All traffic of this router towards it goes to {network(path[0])}, which hands it to AS{explained.asn}."
    return (
        f"All traffic of this router towards it leaves by {network(path[0])} and enters AS{explained.asn} by "
        f"{network(best.upstream)}."
    )


def _moves(explained: Explained) -> list[str]:
    move = explained.move
    if move is None:
        return []
    if move.instead is None:
        return [f"Without the announcement to {network(move.upstream)} this router has no route left."]
    by = f", which enters by {network(move.instead_upstream)}" if move.instead_upstream is not None else ""
    lines = [
        f"Without the announcement to {network(move.upstream)} this router would take {path_text(move.instead)}{by}."
    ]
    if move.guess:
        lines[0] = lines[0][:-1] + ", or an equal one: what decides between them is not in the text."
    if move.prepends is None:
        lines.append(
            f"Prepending towards {network(move.upstream)}, even {MOST_PREPENDS} times, does not change this router's "
            "choice:"
            " something before AS path length decides."
        )
    else:
        times = "One prepend" if move.prepends == 1 else f"{move.prepends} prepends"
        lines.append(
            f"{times} towards {network(move.upstream)} would do the same for this router, if the networks on the way "
            "go on as they are."
        )
    return lines


def data(explained: Explained) -> dict[str, Any]:
    """Everything as plain data, for programs."""
    move = explained.move
    return {
        "style": explained.style.value,
        "prefix": str(explained.prefix) if explained.prefix is not None else None,
        "table": explained.table or None,
        "subject": explained.subject or None,
        "asn": explained.asn,
        "notes": list(explained.notes),
        "whole": explained.whole,
        "sure": explained.sure,
        "marked": explained.marked,
        "best": list(explained.best.as_path) if explained.best is not None else None,
        "runner_up": list(explained.runner_up.as_path) if explained.runner_up is not None else None,
        "decided_by": explained.step or None,
        "disagrees": list(explained.disagrees),
        "candidates": [_row(outcome, outcome.route.candidate is explained.best) for outcome in explained.outcomes],
        "upstreams": {str(asn): count for asn, count in upstreams(explained).items()},
        "move": None
        if move is None
        else {
            "upstream": move.upstream,
            "instead": list(move.instead.as_path) if move.instead is not None else None,
            "instead_upstream": move.instead_upstream,
            "guess": move.guess,
            "prepends": move.prepends,
        },
        "sentences": sentences(explained),
    }


def _row(outcome: Outcome, best: bool) -> dict[str, Any]:
    route = outcome.route.candidate
    return {
        "line": outcome.route.line,
        "best": best,
        "as_path": list(route.as_path),
        "local_pref": route.local_pref,
        "origin": route.origin.value,
        "med": route.med,
        "ebgp": route.ebgp,
        "igp_metric": route.igp_metric,
        "age_s": route.age_s,
        "router_id": route.router_id,
        "neighbor": route.neighbor,
        "next_hop": route.next_hop,
        "protocol": outcome.route.protocol,
        "precedence": outcome.route.precedence,
        "originator": outcome.route.originator or None,
        "cluster_list": list(outcome.route.cluster_list),
        "multipath": outcome.route.multipath,
        "reason": outcome.route.reason or None,
        "doubts": list(outcome.route.doubts),
        "eliminated_by": outcome.eliminated_by or None,
        "unusable": outcome.route.unusable or None,
        "upstream": outcome.upstream,
        "prepends": outcome.prepends,
        "communities": [community_text(c) for c in route.every_community],
        "meanings": meanings(route),
        "lasts": duration(route.age_s) if route.age_s is not None else None,
    }
