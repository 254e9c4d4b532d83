"""A question to a DNS server, and whether an answer is one to it (RFC 1035, section 4). Pure.

In: a name, a type of record, an id. Out: the message; of an answer, what is wrong with it. It asks for no recursion and
reads no records: a server that answers without an error for a name that it should know is well.
"""

import struct

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "HTTPS": 65}
_HEADER = struct.Struct(">HHHHHH")
_QUESTION = struct.Struct(">HH")
_INTERNET, _IS_ANSWER, _CODE = 1, 0x8000, 0x000F
_CODES = {1: "format error", 2: "server failure", 3: "no such name", 4: "not implemented", 5: "refused"}


def question(name: str, record: str, number: int) -> bytes:
    """One question. `number`: 0 to 65535, by which its answer is known."""
    labels = [label.encode("idna") if not label.isascii() else label.encode() for label in name.strip(".").split(".")]
    packed = b"".join(bytes([len(label)]) + label for label in labels if label)
    return _HEADER.pack(number, 0, 1, 0, 0, 0) + packed + b"\0" + _QUESTION.pack(TYPES[record], _INTERNET)


def trouble_of(answer: bytes, number: int) -> str | None:
    """None for an answer without an error, else what is wrong in a few words."""
    if len(answer) < _HEADER.size:
        return "the answer is not DNS"
    told, flags, *_ = _HEADER.unpack_from(answer)
    if told != number or not flags & _IS_ANSWER:
        return "the answer is not DNS"
    code = flags & _CODE
    return f"DNS answers {_CODES.get(code, f'code {code}')}" if code else None
