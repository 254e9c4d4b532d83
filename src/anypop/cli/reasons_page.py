"""docs/reasons.md, made from the reasons: `python -m anypop.cli.reasons_page docs/reasons.md` writes it anew.

In: the source of `model/reasons.py` (its members, their sentences, and the comments that divide them into groups) and
which of our packages name a member. Out: the whole page. A test compares the two, so that no reason can be missing from
the docs.
"""

import ast
import re
import sys
from pathlib import Path

import anypop
from anypop.model import reasons
from anypop.model.reasons import Reason

COMMAND = "python -m anypop.cli.reasons_page docs/reasons.md"

_ABOVE = f"""# Reasons

<!-- Written by: {COMMAND} -->

Every decision carries its reason: one of the words below, the same in `-o json`, in the HTTP API and in the reports of
agents. People read the sentence beside it. "In" names the packages whose code gives the reason or asks for it.
"""

# Where a person meets the reasons of a group. A group that stands in the enum alone gets its table without such a text.
_SEEN = {
    "placement and plan": """
Seen in `anypop events` as `not-planned`: what was asked for and could not be given, with the numbers.
""",
    "drains": """
Seen in `anypop drain`, in `anypop pops` and `anypop host list`, and in `anypop events` as `drain-stage`,
`drain-held`, `drained` and `drain-over`.
""",
    "instances": """
Seen in `anypop instances`, in `anypop workload show`, in `anypop events` as `instance`, and as `message` of an instance
and of its containers in the Workload API.
""",
    "announcements": """
Seen in `anypop announce list`, in `anypop pops -o json` for each prefix, and in `anypop events` as `announced`,
`withdrawn`, `withdrawal-granted`, `withdrawal-refused` and `alarm`.
""",
    "orders": """
Seen in `anypop pops` and in `anypop events` as `order-refused`: an agent goes on obeying the order before.
""",
    "verdicts": """
Seen in `anypop pops`, and in `anypop events` as `pop-unknown` and `pop-trusted`: what a PoP's last report is worth.
""",
}

_GROUP = re.compile(r"^    # (.+)$")
_MEMBER = re.compile(r"^    ([A-Z_]+) = ")


def groups() -> dict[str, list[Reason]]:
    """The members below each comment of the enum, in its order."""
    found: dict[str, list[Reason]] = {}
    group = ""
    for line in Path(reasons.__file__).read_text().splitlines():
        if heading := _GROUP.match(line):
            group = heading[1]
        elif (member := _MEMBER.match(line)) and member[1] in Reason.__members__:
            found.setdefault(group, []).append(Reason[member[1]])
    return found


def places() -> dict[Reason, list[str]]:
    """The packages of ours whose code names a reason, other than `model`."""
    found: dict[Reason, set[str]] = {reason: set() for reason in Reason}
    root = Path(anypop.__file__).parent
    for path in root.rglob("*.py"):
        package = path.relative_to(root).parts[0]
        if package == "model":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Attribute(value=ast.Name(id="Reason"), attr=member) if member in Reason.__members__:
                    found[Reason[member]].add(package)
    return {reason: sorted(packages) for reason, packages in found.items()}


def markdown() -> str:
    """The whole page."""
    where = places()
    parts = [_ABOVE]
    for group, members in groups().items():
        parts.append(f"## {group[:1].upper()}{group[1:]}\n")
        if group in _SEEN:
            parts.append(_SEEN[group].lstrip())
        parts.append("| reason | sentence | in |\n|---|---|---|")
        for reason in members:
            named = ", ".join(f"`{package}`" for package in where[reason])
            parts.append(f"| `{reason.value}` | {reason.says} | {named} |")
        parts.append("")
    return "\n".join(parts).rstrip("\n") + "\n"


def main() -> None:
    Path(sys.argv[1]).write_text(markdown())


if __name__ == "__main__":
    main()
