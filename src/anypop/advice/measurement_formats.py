"""What a file of measurements may be: the words of `--format`. Imports nothing, so that a command's help is quick."""

from enum import StrEnum


class Format(StrEnum):
    CSV = "csv"
    ATLAS = "atlas"
    VERFPLOETER = "verfploeter"
    MRT = "mrt"
    SHARES = "shares"
    PROBE = "probe"
