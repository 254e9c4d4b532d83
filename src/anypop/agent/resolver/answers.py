"""An answer of the platform's own, as bytes on the wire (RFC 1035, 2308, 6891). Pure but for the order of equals.

In: a question that came, and what its name means. Out: the message, cut to what the asker takes: by UDP what does not
fit is left out with the TC bit set, and the asker comes again by TCP. Names that are not there and types that a name
does not have carry an SOA, by which others know how long that holds.
"""

import random
from collections.abc import Sequence
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.rdtypes.ANY.PTR import PTR
from dns.rdtypes.ANY.SOA import SOA
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.A import A
from dns.rdtypes.IN.AAAA import AAAA
from dns.rdtypes.IN.SRV import SRV

from anypop.agent.resolver.zone import INSIDE, Found, Record, Unknown

TTL_S = 5
"""How long an answer may be kept: instances come and go in seconds, and asking again costs tens of microseconds."""

LARGEST, PLAIN, TCP = 1232, 512, 65_535
"""The largest answer by UDP (no fragments on any link), that to who does not say what it takes, and by TCP."""

_IN = dns.rdataclass.IN
_APEX = dns.name.from_text(INSIDE)
_SOA: dns.rdata.Rdata = cast(Any, SOA)(
    _IN, dns.rdatatype.SOA, _APEX, dns.name.from_text(f"hostmaster.{INSIDE}"), 1, 3600, 600, 86_400, TTL_S
)
_REFUSED_TYPES = frozenset({dns.rdatatype.AXFR, dns.rdatatype.IXFR, dns.rdatatype.MAILA, dns.rdatatype.MAILB})


def question_of(wire: bytes) -> dns.message.Message | None:
    """A question; None for what is none, which nobody answers: an answer to an answer would go round for ever."""
    if len(wire) < 12 or wire[2] & 0x80:
        return None
    try:
        return dns.message.from_wire(wire, ignore_trailing=True)
    except dns.exception.DNSException:
        broken = dns.message.Message(id=int.from_bytes(wire[:2], "big"))
        broken.flags = wire[2] << 8 & dns.flags.RD
        return broken


def trouble_with(query: dns.message.Message) -> dns.rcode.Rcode | None:
    """Why a question is not answered at all."""
    if query.opcode() != dns.opcode.QUERY:
        return dns.rcode.NOTIMP
    if len(query.question) != 1:
        return dns.rcode.FORMERR
    if query.edns > 0:
        return dns.rcode.BADVERS
    asked = query.question[0]
    if asked.rdclass != _IN or asked.rdtype in _REFUSED_TYPES:
        return dns.rcode.REFUSED
    return None


def room(query: dns.message.Message, *, tcp: bool) -> int:
    """How many bytes the asker takes."""
    if tcp:
        return TCP
    return min(max(query.payload, PLAIN), LARGEST) if query.edns >= 0 else PLAIN


def refusal(query: dns.message.Message, code: dns.rcode.Rcode) -> bytes:
    """An answer that is none."""
    answer = dns.message.Message(id=query.id)
    answer.flags = dns.flags.QR | dns.flags.RA | (query.flags & dns.flags.RD)
    answer.set_opcode(query.opcode())
    answer.question = list(query.question[:1])
    if query.edns >= 0:
        answer.use_edns(0, payload=LARGEST)
    answer.set_rcode(code)
    return answer.to_wire()


def answer_of(query: dns.message.Message, meaning: Found | Unknown, most: int) -> bytes:
    """The platform's own answer."""
    answer = dns.message.make_response(query, recursion_available=True, our_payload=LARGEST)
    answer.flags |= dns.flags.AA
    asked = query.question[0]
    if isinstance(meaning, Unknown) or not meaning.records:
        if isinstance(meaning, Unknown):
            answer.set_rcode(dns.rcode.NXDOMAIN)
        answer.authority.append(dns.rrset.from_rdata(_APEX, TTL_S, _SOA))
        return answer.to_wire()
    answers = [_rdata(record) for record in _turned(meaning.records, meaning.equal)]
    more = [(dns.name.from_text(name), _rdata(record)) for name, record in meaning.more]
    while True:
        answer.answer = [dns.rrset.from_rdata(asked.name, TTL_S, *answers)] if answers else []
        answer.additional = [dns.rrset.from_rdata(name, TTL_S, record) for name, record in more]
        try:
            return answer.to_wire(max_size=most, want_shuffle=False)
        except dns.exception.TooBig:
            if more:
                more = []
            else:
                answer.flags |= dns.flags.TC
                answers = answers[: len(answers) // 2]


def relayed(query: dns.message.Message, answer: dns.message.Message, most: int) -> bytes:
    """Somebody else's answer, for who asked us."""
    answer.id = query.id
    answer.flags = answer.flags & ~dns.flags.AA | dns.flags.RA
    answer.use_edns(0 if query.edns >= 0 else None, ednsflags=query.ednsflags & dns.flags.DO, payload=LARGEST)
    try:
        return answer.to_wire(max_size=most, want_shuffle=False)
    except dns.exception.TooBig:
        answer.flags |= dns.flags.TC
        answer.answer, answer.authority, answer.additional = [], [], []
        return answer.to_wire()


def _turned(records: Sequence[Record], equal: int) -> list[Record]:
    """Each of the first as often first as the others."""
    return [*random.sample(records[:equal], min(equal, len(records))), *records[equal:]]


def _rdata(record: Record) -> dns.rdata.Rdata:
    kind: Any = _CLASSES[record.type]  # which have no types of their own
    number = dns.rdatatype.from_text(record.type)
    match record.type, record.value:
        case "TXT", (text,):
            raw = str(text).encode()
            made = kind(_IN, number, [raw[at : at + 255] for at in range(0, len(raw), 255)] or [b""])
        case _, (*numbers, name) if record.type in ("SRV", "PTR"):
            made = kind(_IN, number, *numbers, dns.name.from_text(str(name)))
        case _:
            made = kind(_IN, number, *record.value)
    return cast(dns.rdata.Rdata, made)


_CLASSES = {"A": A, "AAAA": AAAA, "PTR": PTR, "TXT": TXT, "SRV": SRV}
