"""What a command is asked about: control's announcements over HTTP, or plan files and saved predictions from disk.

In: the options of a command. Out: a `Question` or predictions. The thinking is `advice.question`'s; here are files,
requests, and the words for what is missing.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from anypop.advice import plans, saved_predictions
from anypop.advice.graph import Graph
from anypop.advice.known import Known, known_of
from anypop.advice.question import Question, known_alone, predicted, question_of, refuse_unknown
from anypop.cli.failure import Exit, Failure, usage
from anypop.model.errors import Invalid
from anypop.model.network import network_from
from anypop.model.sessions import Announcements
from anypop.routing.catchment.predict import Prediction

if TYPE_CHECKING:
    from anypop.cli.call import Call

NOW = "now"  # in place of a file: what control announces
_PREDICTION = "a saved prediction, a plan, or 'now'"


def question(call: "Call", plan: Path | None, workload: str, rules: Sequence[str] = ()) -> Question:
    """What a command's options ask. `plan` needs no control process."""
    known = from_control(call, workload) if plan is None else None
    now = known.announcements if known is not None else from_file(plan)
    return question_of(now, rules, [f"--what-if {text}" for text in rules], known=known)


def from_control(call: "Call", workload: str) -> Known:
    """What one workload announces now. `workload` empty: the only anycast one; where there is none, every PoP to every
    upstream.
    """
    from anypop.cli import views  # noqa: PLC0415 - a plan file needs none of the platform's nouns

    network = network_from(call.client.get("/anypop/v1/network", what="read the network"))
    if not workload:
        listed = call.client.every(f"{call.stack_path('workload')}/workloads", what="find the workload")
        slugs = [str(w.get("slug")) for w in listed if views.anycast_of(w)]
        if len(slugs) > 1:
            raise usage(
                f"several workloads have an anycast address: {', '.join(slugs)}", advice="Name one with --workload."
            )
        if not slugs:
            return known_of(network)
        workload = slugs[0]
    path = f"{call.workload_path(workload, 'anypop')}/announcements"
    rows = call.client.get(path, what=f"announcements of {workload}").get("results") or []
    if not rows:
        raise Failure(
            f"{workload} announces nothing", code=Exit.NOT_FOUND, advice="Only a workload made with --anycast does."
        )
    return known_of(network, workload, rows)


def from_file(path: Path | None) -> Announcements:
    assert path is not None
    return plans.read(text_of(path, "a plan"), str(path))


def text_of(path: Path, what: str) -> str:
    """A file's text. `Failure` for one that cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise usage(f"{path} cannot be read: {why}", advice=f"Name {what}.") from error


def write_file(path: Path, content: str | bytes) -> None:
    """`Failure` where it cannot be written."""
    try:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise usage(f"{path} cannot be written: {error.strerror}") from error


def fitting(call: "Call", graph: Graph, asked: Question, *, skip_unknown: bool) -> Question:
    """The question without sessions to networks that the graph does not have, each told; where that was not asked for,
    `Failure`, and what to do else.
    """
    wanted, left_out = known_alone(graph, asked.wanted)
    if left_out and not skip_unknown:
        try:
            refuse_unknown(graph, asked.wanted)
        except Invalid as error:
            raise usage(
                "the graph does not have every neighbour",
                problems=map(str, error.problems),
                advice="Give their links by --overrides FILE, or leave these neighbours out by --skip-unknown.",
            ) from error
    for line in left_out:
        call.screen.note(f"warning: {line}")
    return replace(asked, now=known_alone(graph, asked.now)[0], wanted=wanted)


def need_graph(names: Sequence[str]) -> bool:
    """Whether some of these are no saved predictions."""
    return any(name == NOW or not saved_predictions.is_saved(text_of(Path(name), _PREDICTION)) for name in names)


def of_names(
    call: "Call", graph: Graph | None, names: Sequence[str], workload: str, *, skip_unknown: bool = False
) -> list[Prediction]:
    """Predictions of files (saved ones or plans) and of `now`. Plans and `now` need a graph."""
    texts = {name: None if name == NOW else text_of(Path(name), _PREDICTION) for name in names}
    read = {
        name: saved_predictions.read(text, name)
        for name, text in texts.items()
        if text is not None and saved_predictions.is_saved(text)
    }
    asked = {
        name: from_control(call, workload).announcements if text is None else plans.read(text, name)
        for name, text in texts.items()
        if name not in read
    }
    if graph is not None:
        each = {name: Question(now=one, wanted=one) for name, one in asked.items()}
        asked = {name: fitting(call, graph, one, skip_unknown=skip_unknown).wanted for name, one in each.items()}
    homes = tuple(sorted({pop for announcements in asked.values() for pop in announcements.pops}))
    if asked:
        assert graph is not None
        read |= {name: predicted(graph, announcements, homes) for name, announcements in asked.items()}
    return [read[name] for name in names]
