"""The console script: the help of `anypop` itself at once, everything else by `main`.

In: argv. Out: an exit code. It imports as good as nothing, since it is paid for by every call.
"""

import gc
import sys


def main() -> None:
    """Ends the process."""
    if sys.argv[1:] in (["-h"], ["--help"]):
        from anypop.cli.tree import help_text, width_here  # noqa: PLC0415 - only this needs it

        sys.stdout.write(help_text(width_here()))
        return
    # What a call makes stays to its end: to look for circles in it after every 700 objects takes time for nothing.
    gc.set_threshold(100_000)
    from anypop.cli.main import run  # noqa: PLC0415 - costs ten times as much as Python itself

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
