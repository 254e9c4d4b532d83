"""Guests whose serial port answers: a real QEMU that boots 50 bytes of code, and a UNIX socket that speaks like it.

Both say HELLO when they begin, and give back each byte. What the real one says while nobody is connected is lost, as it
is by the other.
"""

import contextlib
import socket
import subprocess
import threading
from pathlib import Path
from typing import Protocol

HELLO = b"hello\r\n"
# Real mode, from 0x7c00: print what stands behind the code, then give back each byte of COM1 (port 0x3f8).
_CODE = bytes.fromhex(
    "31c0 8ed8 fc be327c"  # ds = 0, si = the text
    "ac 84c0 7405 e81200 ebf6"  # each byte of it, until a zero
    "bafd03 ec a801 74fb b2f8 ec e80200 ebf0"  # wait for a byte, and give it back
    "88c4 bafd03 ec a820 74fb b2f8 88e0 ee c3"  # wait until one can be sent, and send it
)


class SerialGuest(Protocol):
    """One that listens at `console`, from its start to its end."""

    console: Path

    def start(self) -> None: ...

    def end(self) -> None: ...


class QemuGuest:
    """`arguments`: more of QEMU's."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.console, self._arguments = folder / "console.sock", arguments
        self._disk = folder / "boot.img"
        self._disk.write_bytes((_CODE + HELLO).ljust(510, b"\0") + b"\x55\xaa" + bytes(512 * 63))
        self._running: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        argv = [
            "qemu-system-x86_64", "-accel", "tcg", "-m", "16", "-nodefaults", "-display", "none",
            "-drive", f"file={self._disk},format=raw", "-serial", "chardev:console",
            "-chardev", f"socket,id=console,path={self.console},server=on,wait=off", *self._arguments,
        ]  # fmt: skip
        self._running = subprocess.Popen(argv)

    def end(self) -> None:
        if self._running is not None:
            self._running.kill()
            self._running.wait(10)
            self._running = None


class SocketGuest:
    """The same without a machine."""

    def __init__(self, folder: Path) -> None:
        self.console = folder / "console.sock"
        self._server: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self.console.unlink(missing_ok=True)
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.console))
        self._server.listen(1)
        self._thread = threading.Thread(target=self._speak, args=(self._server,), daemon=True)
        self._thread.start()

    def end(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown(socket.SHUT_RDWR)
            self._server.close()
            self._thread.join(10)
            self._server = None

    def _speak(self, server: socket.socket) -> None:
        first = HELLO
        with contextlib.suppress(OSError):
            while True:
                one, _ = server.accept()
                one.settimeout(0.05)
                with one, contextlib.suppress(ConnectionError):
                    one.sendall(first)
                    first = b""
                    while server.fileno() >= 0:
                        with contextlib.suppress(TimeoutError):
                            if not (typed := one.recv(4096)):
                                break
                            one.sendall(typed)
