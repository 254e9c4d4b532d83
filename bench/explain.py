"""`anypop route explain` on texts whose truth is not our own opinion: what real daemons printed about routes that were
made for it, and the same routes as other makers' documentation has them; then all of them damaged.

An answer is right where it is read, has all fields, the best and the reason. `wrong_without_mark` counts answers of
damaged texts that are wrong and do not say that they may be; damage that leaves no trace in a form (a row lost of a
table that does not count its rows) is counted apart.
"""

import time
from collections.abc import Iterable

from tests.recorded.routes import written
from tests.recorded.routes.judged import Verdict, judged, texts, wrong_without_mark
from tests.recorded.routes.mutations import damaged, leaves_trace

from anypop.routing.paste.explained import explain
from anypop.routing.paste.read import LONGEST, read
from bench.harness import Row, row

SEEDS = 8
LINES = 16_000


def rows() -> Iterable[Row]:
    """Rows `read`, `fields_right`, `best_right`, `reason_right` in all and for each style (answers, against all),
    `marked` (of those with a wrong field, those that say so), `damaged`, `wrong_without_mark`, `wrong_without_trace`
    and `rows_16k` (seconds to read and explain, each form).
    """
    every = {name: ("", text, ()) for name, text in texts().items()} | written.texts()
    verdicts = {name: list(judged(name, text, maker, without)) for name, (maker, text, without) in every.items()}
    by_style: dict[str, list[Verdict]] = {}
    for name, those in verdicts.items():
        by_style.setdefault(_style(name), []).extend(those)
    everything = [verdict for those in verdicts.values() for verdict in those]
    yield from _shares("", everything)
    for style, those in sorted(by_style.items()):
        yield from _shares(f" {style}", those)
    wrong = [verdict for verdict in everything if verdict.wrong]
    yield row(
        "marked",
        [sum(verdict.marked for verdict in wrong)],
        unit="answers",
        against="those with something wrong",
        floor=[len(wrong)],
    )
    yield from _damage(every)
    yield _cost(every)


def _style(name: str) -> str:
    """`frr` of `frr-entry-v4`, `ios-xr` of `ios-xr-entry-v6`."""
    return name.split("-v", maxsplit=1)[0].rpartition("-")[0].removesuffix("-json")


def _shares(suffix: str, verdicts: list[Verdict]) -> Iterable[Row]:
    for name, count in (
        ("read", sum(v.read for v in verdicts)),
        ("fields_right", sum(v.fields for v in verdicts)),
        ("best_right", sum(v.best for v in verdicts)),
        ("reason_right", sum(v.reason for v in verdicts)),
    ):
        yield row(f"{name}{suffix}", [count], unit="answers", against="all", floor=[len(verdicts)])


def _damage(every: dict[str, tuple[str, str, tuple[str, ...]]]) -> Iterable[Row]:
    """Each text that is no document under each kind of damage, several times."""
    answers, unmarked, traceless = 0, 0, 0
    for name, (maker, text, without) in every.items():
        for seed in range(SEEDS) if "json" not in name else ():
            for mutation, broken in damaged(name, text, seed):
                found = list(judged(name, broken, maker, without))
                answers += sum(verdict.read for verdict in found)
                bad = [verdict for verdict in found if wrong_without_mark(verdict)]
                if leaves_trace(name, mutation):
                    unmarked += len(bad)
                    for verdict in bad:
                        print(f"{name} {mutation.__name__} {seed} {verdict.name}: {verdict.wrong[0]}")
                else:
                    traceless += len(bad)
    return [
        row("damaged", [answers], unit="answers"),
        row("wrong_without_mark", [unmarked], unit="answers", against="damaged", floor=[answers], below=1),
        row("wrong_without_trace", [traceless], unit="answers", against="damaged", floor=[answers]),
    ]


def _cost(every: dict[str, tuple[str, str, tuple[str, ...]]]) -> Row:
    samples = []
    for name, (_, text, _) in every.items():
        if "json" in name or name.endswith("v6"):
            continue
        lines = text.splitlines()
        times = min(LINES // len(lines), (LONGEST - 1) // (len(text) + 1))
        long = "\n".join(lines * times)
        began = time.process_time()
        explain(read(long))
        samples.append(time.process_time() - began)
    return row("rows_16k", samples, unit="s", below=1)
