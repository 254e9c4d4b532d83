"""What the operator says about the store of metrics, and whom alerts are told: one file, read at the start of control.

In: YAML. Out: settings, or every problem at once with its path. Secrets stand in files of their own, which nobody else
may read; they are in no message. Who may write this file may let control ask any address: that is the operator alone,
and no request of the API names one.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anypop.control.secret_files import secret_in
from anypop.model.errors import Invalid, Problem, WorldError

Text = Annotated[str, Field(min_length=1, max_length=512)]
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


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Store(_Given):
    url: Text
    user: str = ""
    password_file: Path | None = None
    interval_s: Annotated[float, Field(ge=1, le=300)] = INTERVAL_S
    window_s: Annotated[float, Field(ge=3600, le=400 * 86_400)] = WINDOW_S


class _Webhook(_Given):
    url: Text
    secret_file: Path


class _File(_Given):
    store: _Store
    webhook: _Webhook | None = None


def read(path: Path) -> MetricsSettings:
    """Raises `WorldError` for a file that cannot be read, and `Invalid` with all that is wrong in it."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WorldError(f"read {path}", error.strerror or str(error)) from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise WorldError(f"read {path}", f"it is not YAML: {error}") from error
    return settings_from(found)


def settings_from(data: Any) -> MetricsSettings:
    """Raises `Invalid` with all that is wrong."""
    try:
        given = _File.model_validate(data if data is not None else {})
    except ValidationError as error:
        raise Invalid(Problem(path=_path(e["loc"]), message=e["msg"]) for e in error.errors()) from error
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


def _path(location: tuple[int | str, ...]) -> str:
    return "metrics" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def _address(name: str, text: str) -> list[Problem]:
    parts = urlsplit(text)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.fragment and parts.username is None:
        return []
    return [Problem(path=f"metrics.{name}", message="must be an address like https://store.example:9090")]
