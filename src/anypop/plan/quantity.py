"""Amounts of CPU and memory as the Workload API writes them: "500m", "2", "2Gi", "1.5G".

In: text. Out: thousandths of a core, or bytes; ValueError in words for the user. The notation is that of Kubernetes
quantities.
"""

import re
from decimal import Decimal
from math import ceil

_AMOUNT = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?P<suffix>m|[kKMGTPE]i?)?")
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_DECIMAL = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_LIMIT = 1 << 62  # what fits into a signed 64-bit number everywhere


def cpu_millis(text: str) -> int:
    """Thousandths of a core, rounded up to a whole one."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found["suffix"] not in (None, "m"):
        raise ValueError(f'{text!r} is no amount of CPU; write cores ("2", "0.5") or thousandths ("500m")')
    return _positive(text, Decimal(found["number"]) * (1 if found["suffix"] else 1000))


def memory_bytes(text: str) -> int:
    """Bytes, rounded up to a whole one."""
    found = _AMOUNT.fullmatch(text.strip())
    if found is None or found["suffix"] == "m":
        raise ValueError(f'{text!r} is no amount of memory; write bytes with a unit ("512Mi", "2Gi", "1G")')
    suffix = found["suffix"]
    return _positive(text, Decimal(found["number"]) * (1 if suffix is None else (_BINARY | _DECIMAL)[suffix]))


def _positive(text: str, amount: Decimal) -> int:
    if not 0 < amount < _LIMIT:
        raise ValueError(f"{text!r} must be more than nothing and less than {_LIMIT}")
    return ceil(amount)
