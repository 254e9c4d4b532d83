"""Secrets as they lie on a disk: sealed with AES-256-GCM, so that a copied database or ledger opens nothing.

In: a key, a secret, and what it belongs to. Out: text that says nothing without the key and fits nothing else; and the
secret again. `concealed` and `revealed` do so for the secrets of an order's instances and for nothing else of it, so an
order without secrets costs nothing. It keeps no key and reads none: who calls it has one.
"""

import os
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from anypop.model.names import WorkloadId
from anypop.model.order import Order, Payload
from anypop.model.workload import Container

KEY_BYTES = 32
_NONCE_BYTES = 12  # what GCM is made for; random ones of a key repeat after some 2^32 secrets
_MARK = "sealed:1:"

Conceal = Callable[[WorkloadId, str], str]


class Unreadable(Exception):  # noqa: N818 - it says what the text is
    """A sealed text that this key does not open, or that was changed."""


def key_of(text: str) -> bytes:
    """A key as people and files keep it: 64 hex digits. ValueError where it is none."""
    key = bytes.fromhex(text.strip())
    if len(key) != KEY_BYTES:
        raise ValueError(f"a key has {2 * KEY_BYTES} hex digits, this has {2 * len(key)}")
    return key


def derived(key: bytes, purpose: str) -> bytes:
    """Another key, for one purpose alone (HKDF, RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=purpose.encode()).derive(key)


def fresh_key() -> bytes:
    return AESGCM.generate_key(bit_length=8 * KEY_BYTES)


def seal(key: bytes, secret: str, of: str) -> str:
    """`secret` sealed. It opens only when the same `of` is named: it cannot be moved to somebody else's place."""
    nonce = os.urandom(_NONCE_BYTES)
    return _MARK + b64encode(nonce + AESGCM(key).encrypt(nonce, secret.encode(), of.encode())).decode()


def unseal(key: bytes, text: str, of: str) -> str:
    """The secret. Raises `Unreadable`."""
    try:
        raw = b64decode(text.removeprefix(_MARK), validate=True)
        if not is_sealed(text) or len(raw) < _NONCE_BYTES:
            raise Unreadable("it is not sealed")
        return AESGCM(key).decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], of.encode()).decode()
    except (ValueError, InvalidTag) as error:
        raise Unreadable("the key does not open it") from error


def is_sealed(text: str) -> bool:
    return text.startswith(_MARK)


def holds_secrets(payload: Payload) -> bool:
    return bool(payload.around.logins) or any(c.secrets or _has_user_data(c) for c in payload.every)


def with_secrets(payload: Payload, value: Callable[[str], str]) -> Payload:
    """The payload with what `value` makes of each of its secrets."""
    if not holds_secrets(payload):
        return payload
    containers, init = (tuple(_of_container(c, value) for c in all_) for all_ in (payload.containers, payload.init))
    logins = tuple(replace(one, password=value(one.password)) for one in payload.around.logins)
    return replace(payload, containers=containers, init=init, around=replace(payload.around, logins=logins))


def _has_user_data(container: Container) -> bool:
    return container.machine is not None and bool(container.machine.user_data)


def _of_container(container: Container, value: Callable[[str], str]) -> Container:
    """What a machine is told at its first start is a secret as well: it often has passwords and keys in it."""
    if container.secrets:
        container = replace(container, secrets=tuple((name, value(secret)) for name, secret in container.secrets))
    machine = container.machine
    if machine is not None and machine.user_data:
        container = replace(container, machine=replace(machine, user_data=value(machine.user_data)))
    return container


def order_with_secrets(order: Order, value: Conceal) -> Order:
    """The order with what `value` makes of each secret, which it is given with whose it is; the order itself where it
    holds none.
    """
    if not any(holds_secrets(i.payload) for i in order.instances):
        return order
    instances = tuple(
        replace(i, payload=with_secrets(i.payload, partial(value, i.workload_id))) for i in order.instances
    )
    return replace(order, instances=instances)
