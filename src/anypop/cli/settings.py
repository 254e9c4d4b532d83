"""Where control is and who we are: read before the first request.

In: `--state DIR`, `--context NAME`, the environment, the `client.json` that a platform writes, the contexts that were
kept. Out: `Settings`. What names a platform on purpose (`--state`, `--context`) is taken alone; else a value of the
environment wins over the same value of the folder that ANYPOP_STATE names, of the current context, or of the usual
folder, whichever of these comes first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from anypop.cli import kept
from anypop.cli.failure import Exit, Failure

DEFAULT_STATE = Path("/var/lib/anypop")
_KEYS = ("url", "ca", "client_id", "client_secret", "token", "stack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`ca`: a PEM file, or its text; empty: the system's own authorities. `token`: a session of somebody who has signed
    in, in place of a client's id and secret. `stack`: id or slug.
    """

    url: str
    ca: str
    client_id: str
    client_secret: str
    stack: str
    token: str = ""


def state_dir(state: Path | None, environment: Mapping[str, str]) -> Path:
    """The state folder of the platform meant: `--state`, else ANYPOP_STATE, else /var/lib/anypop."""
    return state or Path(environment.get("ANYPOP_STATE") or DEFAULT_STATE)


def load(state: Path | None, environment: Mapping[str, str], *, stack: str = "", context: str = "") -> Settings:
    """Settings for this call. Raises `Failure` that says which value is missing and where it can come from."""
    named = context or ("" if state else environment.get("ANYPOP_CONTEXT", ""))
    values = {} if state or named else {key: environment.get(f"ANYPOP_{key.upper()}", "") for key in _KEYS}
    if state or named or not values.get("url") or not _somebody(values):
        usual = "" if environment.get("ANYPOP_STATE") else kept.current(environment)
        current = "" if state else named or usual
        folder = state_dir(state, environment)
        found = kept.one(current, environment) if current else _of_file(folder / "client.json", folder)
        given = {key: value for key, value in values.items() if value}
        if "client_id" in given or "client_secret" in given:  # of the environment: not the session that is kept
            found.pop("token", None)
        values = found | given
    if stack:
        values["stack"] = stack
    needed = ("url", "stack") if values.get("token") else ("url", "client_id", "client_secret", "stack")
    missing = [key for key in needed if not values.get(key)]
    if missing:
        raise Failure(
            f"not known: {', '.join(missing)}",
            code=Exit.USAGE,
            advice="Set "
            + ", ".join(f"ANYPOP_{key.upper()}" for key in missing)
            + ", or name a platform's folder with --state DIR, or a kept one with --context NAME.",
        )
    url = values["url"].rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise Failure(
            f"'{url}' is not the address of a control process",
            code=Exit.USAGE,
            advice="It looks like https://127.0.0.1:8443.",
        )
    return Settings(
        url=url,
        ca=values.get("ca", ""),
        client_id=values.get("client_id", ""),
        client_secret=values.get("client_secret", ""),
        stack=values["stack"],
        token=values.get("token", ""),
    )


def _somebody(values: Mapping[str, str]) -> bool:
    """Whether they say who asks."""
    return bool(values.get("token") or (values.get("client_id") and values.get("client_secret")))


def _of_file(path: Path, folder: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        raise Failure(
            f"no platform runs from {folder} (there is no {path.name} in it)",
            code=Exit.UNREACHABLE,
            advice=(
                "Start one with 'sudo anypop up', name another folder with --state DIR, sign in to one elsewhere with "
                "'anypop login URL', or set ANYPOP_URL and the credentials."
            ),
        ) from None
    except PermissionError:
        raise Failure(
            f"{path} may not be read", code=Exit.DENIED, advice="Run as root, or set ANYPOP_URL and the credentials."
        ) from None
    except (ValueError, OSError) as error:
        raise Failure(
            f"{path} cannot be used: {error}", code=Exit.USAGE, advice="'anypop up' writes it anew."
        ) from error
    if not isinstance(found, dict):
        raise Failure(f"{path} does not hold a JSON object", code=Exit.USAGE, advice="'anypop up' writes it anew.")
    values = {key: str(found[key]) for key in _KEYS if found.get(key)}
    ca = values.get("ca", "")
    if ca and not ca.startswith("-----BEGIN") and not Path(ca).is_absolute():
        values["ca"] = str(folder / ca)
    return values
