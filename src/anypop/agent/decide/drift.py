"""What looks had to mend although no order asked for it, kept until control has been told of it. Pure.

In: what each look had to mend; the reports that control has taken. Out: the lines of the next report. Looks may follow
each other within milliseconds, and control may be away: a line leaves when control has it, and a later look finds
nothing of it.
"""

from collections.abc import Iterable

from anypop.model.report import Report
from anypop.model.report_limits import told_lines


class Drift:
    """`lines`: what is to be told, each once."""

    def __init__(self) -> None:
        self.lines: tuple[str, ...] = ()
        self._delivered = True

    def found(self, lines: Iterable[str]) -> None:
        """A look at the world is over; it mends these."""
        earlier = () if self._delivered else self.lines
        self.lines = tuple(dict.fromkeys((*earlier, *lines)))
        self._delivered = not self.lines

    def delivered(self, report: Report) -> None:
        """Control has taken this report."""
        self._delivered |= report.drift == told_lines(self.lines)
