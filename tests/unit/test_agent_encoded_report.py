"""A report that is sent again is encoded as if it were encoded anew."""

from dataclasses import replace

import pytest

from anypop.agent import encoded_report
from anypop.agent.encoded_report import EncodedReport
from anypop.model.codec import from_json, to_json
from anypop.model.names import CityCode, HostName
from anypop.model.report import Report

FIRST = Report(pop=CityCode("LHR"), host=HostName('a"at":0.0,'), at=1_795_792_088.002_121, generation=7)


def test_what_is_sent_is_what_the_codec_makes_of_it() -> None:
    """Of reports that differ by their time, by something else, and by nothing; also where a name looks like a time."""
    encoded, errors = EncodedReport(), ('"at":0.0,',)
    for report in (FIRST, replace(FIRST, at=0.0), replace(FIRST, at=3.5), replace(FIRST, at=4.0, errors=errors), FIRST):
        assert encoded.of(report) == to_json(report)
        assert from_json(Report, encoded.of(report)) == report


def test_a_report_of_another_time_alone_is_not_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = list[object]()

    def counted(value: object) -> bytes:
        made.append(value)
        return to_json(value)

    monkeypatch.setattr(encoded_report, "to_json", counted)
    encoded = EncodedReport()
    for n in range(5):
        encoded.of(replace(FIRST, at=float(n)))
    assert sum(isinstance(value, Report) for value in made) == 1
