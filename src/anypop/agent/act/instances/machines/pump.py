"""All that comes from one connection goes to another, both ways: what two QEMUs say to each other, through two agents.

In: two streams, whatever was said on them before. Out: nothing; it returns when both have ended, or either breaks. The
guest is still while its memory passes here, so a piece goes from the one transport into the other at the moment it
comes: no task is woken for it, and nothing is kept but what the other side does not take yet. What it is, is not known.
"""

import asyncio

from anypop.agent.act.instances.machines.move_words import Stream

_PIECE = 1 << 16  # larger ones cost more: what is copied next is not near the processor any more
_BEHIND = 1 << 19  # bytes that one side may be behind, before the other one has to wait


async def pump(one: Stream, other: Stream) -> None:
    """Both are ended when it returns, also when it is cancelled."""
    over = asyncio.Event()
    ends = _End(one, over), _End(other, over)
    ends[0].other, ends[1].other = ends[1], ends[0]
    try:
        for end in ends:
            end.begin()
        for end in ends:  # nothing can have come by the new way yet: the loop has not turned
            end.take(await end.left())
        await over.wait()
    except OSError:
        pass  # whoever needed it finds it ended
    finally:
        await one.end()
        await other.end()


class _End(asyncio.BufferedProtocol):
    """Of one of the two."""

    other: "_End"

    def __init__(self, stream: Stream, over: asyncio.Event) -> None:
        transport = stream.writer.transport
        assert isinstance(transport, asyncio.Transport), "both ways"
        self.transport = transport
        self._reader, self._before, self._over = stream.reader, self.transport.get_protocol(), over
        self._buffer = memoryview(bytearray(_PIECE))  # of which asyncio takes parts; those of a bytearray are copies
        self._ended = False

    def begin(self) -> None:
        self.transport.set_write_buffer_limits(high=_BEHIND)
        self.transport.set_protocol(self)
        # whoever has ended by now, or was not read any more, says so once more
        self.transport.pause_reading()
        self.transport.resume_reading()
        if self.transport.is_closing():
            self._end()

    async def left(self) -> bytes:
        """What came before, and nobody has read. Waits for nothing."""
        self._reader.feed_eof()
        return await self._reader.read()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.take(bytes(self._buffer[:nbytes]))

    def take(self, piece: bytes) -> None:
        """Give it to the other one."""
        if piece and self.other.transport.is_closing():
            self._over.set()  # nobody is there any more
        elif piece:
            self.other.transport.write(piece)

    def eof_received(self) -> bool:
        self._end()
        return self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self._before.connection_lost(exc)
        self._end()
        if exc is not None:
            self._over.set()

    def _end(self) -> None:
        """Nothing more comes from here."""
        if self._ended:
            return
        self._ended = True
        to = self.other.transport
        if not to.is_closing():
            if to.can_write_eof():
                to.write_eof()
            else:  # TLS has no half of an end
                to.close()
        if self.other._ended:
            self._over.set()

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()
