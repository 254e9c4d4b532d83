"""Reports as they are sent: the JSON of each, made once as long as they differ by their time alone. Pure.

In: a report. Out: what `to_json` makes of it. A host where nothing happens says the same every few seconds.
"""

from dataclasses import replace

from anypop.model.codec import to_json
from anypop.model.report import Report

_AT = b'"at":0.0,'  # the first field of this name is the report's own: its host and its PoP alone stand before it


class EncodedReport:
    """Of one host."""

    def __init__(self) -> None:
        self._timeless: Report | None = None
        self._around = b"", b""

    def of(self, report: Report) -> bytes:
        timeless = replace(report, at=0.0)
        if timeless != self._timeless:
            before, _, after = to_json(timeless).partition(_AT)
            self._timeless, self._around = timeless, (before, after)
        return self._around[0] + b'"at":' + to_json(float(report.at)) + b"," + self._around[1]
