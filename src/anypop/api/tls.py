"""What a TLS handshake is shown: the platform's own certificate, or the public one of a real name.

In: the platform's credentials; a public certificate, when there is one. Out: contexts for listening sockets. A
connection that asks for a public name gets the public certificate; every other one (by address, by another name, by
none) gets the platform's own, so that agents and clients which trust the platform's authority go on as they are. A new
certificate is for new connections: those that are open go on.
"""

import ssl

from anypop.control.ca import Credentials
from anypop.control.public_certificate import PublicCertificate, context_of


class Shown:
    """The public certificate that is shown now, if any. `names`: those that it is shown for. `trouble`: why the next
    one is not there, in words; empty while nothing is wrong.
    """

    def __init__(self, names: tuple[str, ...] = ()) -> None:
        self.names = tuple(name.lower() for name in names)
        self.certificate: PublicCertificate | None = None
        self.trouble = ""
        self._context: ssl.SSLContext | None = None

    def put(self, certificate: PublicCertificate) -> None:
        """From the next connection on. Raises `ssl.SSLError`."""
        self._context = context_of(certificate)
        self.certificate, self.trouble = certificate, ""

    def choose(self, connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        """For `SSLContext.sni_callback`: `name` is what the client asks for."""
        if self._context is not None and name is not None and name.lower().rstrip(".") in self.names:
            connection.context = self._context


class Contexts:
    """`named` tells by the name that is asked for, `own` shows the platform's own certificate whatever that is."""

    def __init__(self, credentials: Credentials, shown: Shown) -> None:
        self.named, self.own = _context(credentials), _context(credentials)
        self.named.sni_callback = shown.choose

    def renew(self, credentials: Credentials) -> None:
        for context in (self.named, self.own):
            context.load_cert_chain(credentials.certificate, credentials.key)


def _context(credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.certificate, credentials.key)
    context.load_verify_locations(credentials.ca)
    context.verify_mode = ssl.CERT_OPTIONAL  # agents that have joined show one, and nobody else need
    # Nobody resumes a session here; and a ticket that comes while a client's two threads begin to read and to write can
    # cost what is written (OpenSSL allows one at a time).
    context.num_tickets = 0
    return context
