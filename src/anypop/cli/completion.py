"""`anypop completion`: words completed by the shell, from the commands themselves and from what there is.

In: the words of a line so far (`anypop _complete WORDS...`, which the scripts call). Out: candidates, one a line, with
what each means after a tab; or `:files`, for the shell to name files. Names of workloads and of other things are asked
of control; where it does not answer there are none. It never fails, since nobody could read why.
"""

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from anypop.cli import kinds, tree
from anypop.cli.call import Call, Root, command
from anypop.cli.failure import Failure, usage
from anypop.cli.screen import Format

FILES = ":files"
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]*")
Row = tuple[str, str]

_BASH = """\
_anypop() {
    local found line current="${COMP_WORDS[COMP_CWORD]}"
    COMPREPLY=()
    mapfile -t found < <("${COMP_WORDS[0]}" _complete "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    if [[ "${found[0]}" == ":files" ]]; then
        compopt -o filenames 2>/dev/null
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
    fi
    for line in "${found[@]}"; do COMPREPLY+=("${line%%$'\\t'*}"); done
}
complete -F _anypop anypop
"""
_ZSH = """\
#compdef anypop
_anypop() {
    local -a found shown
    local line
    found=("${(@f)$("${words[1]}" _complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ "${found[1]}" == ":files" ]]; then _files; return; fi
    for line in "${found[@]}"; do
        [[ -n "$line" ]] && shown+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}")
    done
    _describe anypop shown
}
if [[ "${funcstack[1]}" == "_anypop" ]]; then _anypop "$@"; else compdef _anypop anypop; fi
"""
_FISH = """\
function __anypop_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l found ($words[1] _complete $words[2..-1] 2>/dev/null)
    if test "$found[1]" = ":files"
        __fish_complete_path (commandline -ct)
    else
        printf '%s\\n' $found
    end
end
complete -c anypop -f -a '(__anypop_complete)'
"""
SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def register(root: typer.Typer) -> None:
    """The command of this file, at the top level."""
    examples = """
    source <(anypop completion bash)
    anypop completion zsh > ~/.zfunc/_anypop
    anypop completion fish > ~/.config/fish/completions/anypop.fish
    """
    command(root, "completion", stack=False, examples=examples)(completion)


def register_hidden(root: typer.Typer) -> None:
    """What the scripts call."""
    settings = {"ignore_unknown_options": True, "allow_interspersed_args": False, "help_option_names": []}
    root.command("_complete", hidden=True, context_settings=settings)(complete)


def completion(
    call: Call, shell: Annotated[str, typer.Argument(metavar="bash|zsh|fish", help="For which shell.")]
) -> None:
    """Print the script with which a shell completes commands, options, kinds, and names of what there is."""
    if shell not in SCRIPTS:
        raise usage(f"no script for '{shell}'", advice=f"There is one for {', '.join(SCRIPTS)}.")
    call.screen.result({"shell": shell, "script": SCRIPTS[shell]}, lambda: [SCRIPTS[shell].rstrip("\n")])


def complete(ctx: typer.Context, words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
    """Candidates for the last of the words."""
    *before, current = words or [""]
    for value, about in candidates(ctx.find_root().command, before, current, ctx.find_root().obj):
        sys.stdout.write(f"{value}\t{about}\n" if about else f"{value}\n")


def candidates(group: Any, before: list[str], current: str, root: Any) -> list[Row]:
    """Those that begin as `current` does."""
    rows = list(_rows(group, before, current, root))
    return [(FILES, "")] if any(value == FILES for value, _ in rows) else [r for r in rows if r[0].startswith(current)]


def _rows(group: Any, before: list[str], current: str, root: Any) -> Iterator[Row]:
    one, rest, settings = _walked(group, before)
    if one is None or hasattr(one, "list_commands"):
        if current.startswith("-"):
            yield from _options((one or group).params)
        elif one is None:
            yield from ((name, about) for _, section in tree.SECTIONS for name, _, _, about in section)
        else:
            for name in one.list_commands(None):
                yield name, _first_line(one.get_command(None, name).help)
        return
    if current.startswith("-"):
        yield from _options(one.params)
        return
    awaited = _awaits(one.params, rest)
    if awaited is not None:
        yield from _values(awaited)
        return
    given = [word for word, is_value in _positional(one.params, rest) if not is_value]
    yield from _arguments(one, given, settings, root)


def _walked(group: Any, before: list[str]) -> tuple[Any, list[str], dict[str, str]]:
    """The command that is meant (None: the root), the words after its name, and the root's options before it."""
    one, settings, rest = None, dict[str, str](), list(before)
    while rest:
        if rest[0].startswith("-"):
            option = rest.pop(0)
            if one is None and rest and option in ("--state", "--stack", "--context", "-o", "--output"):
                settings[option] = rest.pop(0)
            continue
        there = one if one is not None else group
        if not hasattr(there, "list_commands"):
            break
        found = there.get_command(None, rest[0])
        if found is None:
            break
        one = found
        rest.pop(0)
        if not hasattr(one, "list_commands"):
            break
    return one, rest, settings


def _options(params: Iterable[Any]) -> Iterator[Row]:
    for one in params:
        if one.param_type_name == "option" and not one.hidden:
            for name in (*one.opts, *one.secondary_opts):
                yield name, _first_line(one.help)
    yield "--help", "what it does, and all of its options"


def _awaits(params: Iterable[Any], rest: list[str]) -> Any:
    """The option whose value comes next, if any."""
    known = {name: one for one in params for name in one.opts if one.param_type_name == "option" and not one.is_flag}
    return known.get(rest[-1]) if rest else None


def _values(option: Any) -> Iterator[Row]:
    metavar = str(option.metavar or "")
    if "FILE" in metavar or "DIR" in metavar:
        yield FILES, ""
    elif "|" in metavar:
        yield from ((word, "") for word in metavar.split("|"))


def _positional(params: Iterable[Any], rest: list[str]) -> Iterator[tuple[str, bool]]:
    """The words that are no option, and whether each is the value of one."""
    several = list(params)
    for number, word in enumerate(rest):
        if not word.startswith("-"):
            yield word, _awaits(several, rest[:number]) is not None


def _arguments(one: Any, given: list[str], settings: dict[str, str], root: Any) -> Iterator[Row]:
    metavars = " ".join(str(p.metavar or p.name) for p in one.params if p.param_type_name == "argument").upper()
    if "KIND" in metavars:
        if not given:
            yield from ((word, kind.about) for kind in kinds.KINDS for word in (kind.plural, kind.name))
        else:
            yield from _named(given[0], settings, root)
    elif "WORKLOAD" in metavars and not given:
        yield from _named("workload", settings, root)
    elif any(word in metavars for word in ("INSTANCE", "NAME", "FROM")) and len(given) < 2:
        yield from _named("instance", settings, root)
        yield from _named("workload", settings, root) if "FROM" not in metavars else ()
    elif "HOST" in metavars and not given:
        yield from _named("host", settings, root)
    elif "TARGET" in metavars and not given:
        yield from _named("pop", settings, root)
    elif "BASH" in metavars:
        yield from ((shell, "") for shell in SCRIPTS)
    else:
        yield FILES, ""


def _named(word: str, settings: dict[str, str], root: Any) -> Iterator[Row]:
    """The names that there are of a kind."""
    asks = root or Root()
    state, stack = settings.get("--state"), settings.get("--stack", "")
    asks.context = settings.get("--context", asks.context)
    try:
        kind = kinds.kind_of(word.partition("/")[0])
        call = Call(asks, output=Format.TABLE, state=Path(state) if state else None, stack=stack)
        try:
            # what a shell would put into a line that is about to be run has to be a plain word
            yield from ((name, "") for name in map(kind.named, kind.listed(call, "")) if _PLAIN.fullmatch(name))
        finally:
            call.client.close()
    except Failure:
        return


def _first_line(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())[:100]
