"""Every command by name: where it is made, and what it does in a few words. The help of `anypop` itself.

In: nothing. Out: the table, and the help as text. This is all that `anypop --help` needs: it imports nothing, so that
the help is there at once, and a command imports its own file and no other.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# (title, ((name, modules of anypop.cli, what of the first one makes it, about), ...)): `register` adds commands to the
# root, `app` is a group; modules after the first add commands to it
SECTIONS: tuple[tuple[str, tuple[tuple[str, tuple[str, ...], str, str], ...]], ...] = (
    (
        "Things of any kind",
        (
            ("get", ("get",), "register", "rows of a kind: workloads, instances, pops, hosts, ..."),
            ("describe", ("get",), "register", "all about one thing"),
            ("apply", ("applying",), "register", "create or change workloads as files say"),
            ("diff", ("applying",), "register", "what 'apply' would change"),
            ("edit", ("editing",), "register", "change a workload in your editor"),
            ("delete", ("deleting",), "register", "take things away"),
            ("wait", ("waiting",), "register", "until a workload runs, is announced, is gone"),
            ("watch", ("following",), "register", "things as they change"),
        ),
    ),
    (
        "Workloads",
        (
            ("quote", ("workloads",), "register", "what a workload would cost"),
            ("run", ("workloads",), "register", "'workload create', for short"),
            ("workload", ("workloads", "changes", "timeline"), "app", "create, change, scale, roll back, ..."),
            ("rollout", ("rollouts",), "app", "pause, resume and abort changes under way"),
            ("instances", ("workloads",), "register", "instances with their place and addresses"),
            ("top", ("top",), "register", "what instances use now"),
            ("usage", ("usage",), "register", "what ran, and what it costs so far"),
            ("logs", ("instances",), "register", "what containers say"),
            ("log-sink", ("log_sinks",), "app", "where lines of logs are sent"),
            ("exec", ("instances",), "register", "a command in an instance"),
            ("console", ("consoles",), "register", "a virtual machine's console"),
            ("port-forward", ("forwarding",), "register", "a port of an instance, reached from here"),
            ("cp", ("copying",), "register", "files to and from an instance"),
            ("restart", ("instances",), "register", "a workload's instances anew by a rollout, or one in its place"),
            ("volume", ("volumes",), "app", "what instances keep; snapshots of it"),
            (
                "vm",
                ("vm_images", "vm_captures", "vm_power"),
                "app",
                "virtual machines: images, off and on, mended",
            ),
        ),
    ),
    (
        "Traffic and routes",
        (
            ("probe", ("probes",), "register", "where vantages land, and how quickly"),
            ("test", ("landing_tests",), "register", "an address from everywhere, kept and compared"),
            ("why", ("probes",), "register", "why a network lands where it lands; who has an address"),
            ("announce", ("announce",), "app", "scope, withhold, prepend announcements"),
            ("network", ("networks",), "network", "which instances are among themselves"),
            ("subnet", ("networks",), "subnet", "where those of a network have addresses"),
            ("gateway", ("networks",), "gateway", "where gateways lead those of a network"),
            ("policy", ("policies",), "app", "who may send what to instances"),
            ("drain", ("drains",), "register", "take the traffic from a PoP, a host, ..."),
            ("undrain", ("drains",), "register", "bring it back"),
            ("dial", ("dials",), "register", "how much of its connections a PoP keeps"),
            ("catchment", ("catchment.commands", "catchment.measuring"), "app", "where every network will land"),
            ("doctor", ("catchment.doctor",), "register", "who lands too far away, and what mends it"),
            ("communities", ("listings",), "communities", "what communities mean to a network"),
            ("route", ("routes",), "app", "read and explain what routers print"),
            ("vantages", ("listings",), "register", "places to test from"),
        ),
    ),
    (
        "The platform",
        (
            ("portal", ("portal",), "register", "a link that signs you in, in a browser"),
            ("pops", ("listings",), "register", "sites: known, healthy, their sessions"),
            ("host", ("hosts",), "app", "machines: room, joining, giving up"),
            ("backbone", ("backbone",), "register", "tunnels between hosts"),
            ("metrics", ("metrics",), "app", "charts, what is scraped, where people land"),
            ("events", ("listings",), "register", "what happened, and happens (-f)"),
            ("audit", ("audit",), "register", "who did what"),
            ("audit-prune", ("audit",), "register", "let old entries of that go"),
            ("quota", ("hosts",), "quotas", "how much accounts may declare"),
            ("account", ("accounts",), "app", "accounts: limits, use, requests for one"),
            ("stack", ("stacks",), "app", "what holds the workloads of an account"),
            ("invitation", ("accounts",), "invitations", "how people come into an account"),
            ("user", ("users",), "app", "who is in it, roles, passwords"),
            ("credential", ("users",), "credentials", "what programs sign in with"),
            ("backup", ("backups",), "register", "control's store in one file"),
            ("restore", ("backups",), "register", "bring it back"),
        ),
    ),
    (
        "This machine",
        (
            ("up", ("labs",), "register", "start an internet and the platform"),
            ("down", ("labs",), "register", "take it all down"),
            ("demo", ("labs",), "register", "the whole story, on a terminal"),
            ("lab", ("labs",), "app", "the lab's internet"),
            ("login", ("contexts",), "register", "keep credentials for a platform"),
            ("logout", ("contexts",), "register", "end the session there, and forget it here"),
            ("context", ("contexts",), "app", "which platform is meant"),
            ("completion", ("completion",), "register", "complete words in bash, zsh, fish"),
            ("man", ("manual",), "register", "write manual pages"),
        ),
    ),
)
HIDDEN = {"_complete": (("completion",), "register_hidden")}

ABOUT = (
    "Run containers and virtual machines in many cities behind one anycast address, on your own machines and your own "
    "AS number."
)
OPTIONS = (
    ("--state DIR", "state folder of the platform meant, for any command"),
    ("--context NAME", "a platform that 'anypop login' or 'context set' has kept"),
    ("--stack STACK", "stack, by id or slug, for any command"),
    ("-o, --output FORMAT", "table, wide, json or yaml"),
    ("--version", "say which version this is"),
    ("-h, --help", "of any command, after its name"),
)
EXAMPLES = (
    ("sudo anypop up", "an internet and the platform, on this machine"),
    ("anypop workload create web --image IMAGE --port 80 --target eu1=AMS,LHR --anycast", ""),
    ("anypop apply -f workloads/", "all that is declared in files"),
    ("anypop probe --all", "where does each vantage land?"),
    ("anypop why london", "and why there?"),
)
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed or declined (or, of diff, different), 2 wrong input, 3 control not reachable, "
    "4 not allowed, 5 no such thing, 6 not in time."
)


def names() -> list[str]:
    """Of every command that is shown, in the order of the help."""
    return [name for _, commands in SECTIONS for name, _, _, _ in commands]


def made_by(name: str) -> tuple[tuple[str, ...], str] | None:
    """The modules and the member of the first one that makes a command."""
    for _, commands in SECTIONS:
        for known, modules, member, _ in commands:
            if known == name:
                return modules, member
    return HIDDEN.get(name)


def help_text(width: int) -> str:
    """The help of `anypop` in lines of at most `width`."""
    lines = ["Usage: anypop [OPTIONS] COMMAND [ARGS]...", "", *_filled(ABOUT, width)]
    for title, commands in SECTIONS:
        lines += ["", f"{title}:"]
        lines += [line for name, _, _, about in commands for line in _row(name, about, 14, width)]
    lines += ["", "Options:", *(line for name, about in OPTIONS for line in _row(name, about, 21, width))]
    lines += ["", "Examples:", *(line for text, about in EXAMPLES for line in _row(text, about, 28, width))]
    return "\n".join([*lines, "", *_filled(EXIT_CODES, width)]) + "\n"


def width_here() -> int:
    """Of standard output; 80 where it has none."""
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(sys.stdout.fileno()).columns) or 80
    except (OSError, ValueError, AttributeError):
        return 80


def _row(name: str, about: str, column: int, width: int) -> "Iterator[str]":
    if not about:
        yield f"  {name}"
        return
    first, *rest = _filled(about, max(width - column - 2, 20))
    yield f"  {name.ljust(column)}{first}"
    for line in rest:
        yield " " * (column + 2) + line


def _filled(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > min(width, 110):
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]
