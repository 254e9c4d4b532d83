"""What the operator says about the store of metrics, and whom alerts are told: one file, read at the start of control.

In: YAML. Out: settings, or every problem at once with its path. Secrets stand in files of their own, which nobody else
may read; they are in no message. Who may write this file may let control ask any address: that is the operator alone,
and no request of the API names one.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from anypop.control.secret_files import secret_in
from anypop.control.settings_files import Given, Text, checked, loaded
from anypop.model.errors import Invalid, Problem

INTERVAL_S = 15.0
WINDOW_S = 31 * 86_400.0  # as long as agents keep samples


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """`url`: where it answers Prometheus's API. `interval`: how often it scrapes, `window`: how old samples may be that
    it takes; seconds.
    """

    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    interval: float = INTERVAL_S
    window: float = WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Where alerts are told. `secret`: by which whoever gets them knows that they are from here."""

    url: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    store: StoreSettings
    webhook: WebhookSettings | None = None


class _Store(Given):
    url: Text
    user: str = ""
    password_file: Path | None = None
    interval_s: Annotated[float, Field(ge=1, le=300)] = INTERVAL_S
    window_s: Annotated[float, Field(ge=3600, le=400 * 86_400)] = WINDOW_S


class _Webhook(Given):
    url: Text
    secret_file: Path


class _File(Given):
    store: _Store
    webhook: _Webhook | None = None


def read(path: Path) -> MetricsSettings:
    """Raises `WorldError` for a file that cannot be read, and `Invalid` with all that is wrong in it."""
    return settings_from(loaded(path))


def settings_from(data: Any) -> MetricsSettings:
    """Raises `Invalid` with all that is wrong."""
    given = checked(_File, data, "metrics")
    store, webhook = given.store, given.webhook
    problems = _address("store.url", store.url)
    password, secret = "", ""
    if store.password_file is not None:
        password = secret_in(store.password_file, "metrics.store.password_file", problems)
    if bool(store.user) != (store.password_file is not None):
        problems.append(Problem(path="metrics.store.user", message="goes with password_file: give both or neither"))
    if webhook is not None:
        problems += _address("webhook.url", webhook.url)
        secret = secret_in(webhook.secret_file, "metrics.webhook.secret_file", problems)
    if problems:
        raise Invalid(problems)
    return MetricsSettings(
        store=StoreSettings(
            url=store.url.rstrip("/"), user=store.user, password=password, interval=store.interval_s,
            window=store.window_s,
        ),
        webhook=WebhookSettings(url=webhook.url, secret=secret) if webhook is not None else None,
    )  # fmt: skip


def _address(name: str, text: str) -> list[Problem]:
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.fragment and parts.username is None:
        return []
    return [Problem(path=f"metrics.{name}", message="must be an address like https://store.example:9090")]
