"""Anypop: containers in many cities behind one anycast address, on your own machines and your own AS number."""

import sys

# Where `rich` is installed, httpx brings a command line of its own along: 5 MB in each of our processes, used by none.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]
