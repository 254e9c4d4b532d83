"""`python -m anypop.control.metrics.prometheus`: becomes a Prometheus server that is the store of metrics.

In: where control let a file with a credential for scraping be written, a password, an address of loopback. Out: the
server's configuration in a folder of its own, and then the server in place of this process, so that whoever started
this watches the server itself. It asks control alone, listens on loopback alone, and answers nobody without a password.
"""

import argparse
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import bcrypt
import yaml

from anypop.control.secret_files import secret_in
from anypop.model.errors import Invalid, Problem, WorldError

RULES = Path(__file__).parent / "rules"
USER = "anypop"
WINDOW = "31d"  # so old may samples be that come late: as long as agents keep them
ROUNDS = 5  # of bcrypt: the password is 256 bits that nobody can guess, and the server asks for each request


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`config`: the file that is written; its folder holds everything of the server. `credential`: control's file.
    `interval_s`: between two scrapes; `retention`: how long samples stay. `alertmanagers`: where alerts go too.
    """

    config: Path
    credential: Mapping[str, str]
    password: str
    listen: str
    interval_s: float
    retention: str
    alertmanagers: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        return self.config.parent


def configuration(settings: Settings) -> dict[str, Any]:
    """prometheus.yml. Series have the labels that hosts and control gave them, and no others: what is filled in later
    has the same.
    """
    folder, interval = settings.folder, f"{round(settings.interval_s * 1000)}ms"
    url, tls = settings.credential["url"], {"ca_file": str(folder / "ca.pem")}
    signs_in = {
        "client_id": settings.credential["client_id"],
        "client_secret_file": str(folder / "client-secret"),
        "token_url": f"{url}/identity/v1/oauth2/token",
        "tls_config": tls,
    }
    return {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": f"{round(min(settings.interval_s, 10) * 1000)}ms",
            "evaluation_interval": interval,
        },
        "storage": {"tsdb": {"out_of_order_time_window": WINDOW}},
        "rule_files": [str(RULES / "*.yml"), str(folder / "rules.d" / "*.yml")],
        **({"alerting": alerting(settings.alertmanagers)} if settings.alertmanagers else {}),
        "scrape_configs": scraping(url, signs_in, tls),
    }


def scraping(url: str, signs_in: Mapping[str, Any], tls: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What any server that reads Prometheus's configuration scrapes."""
    return [
        {
            "job_name": "anypop",
            "scheme": url.partition(":")[0],
            "oauth2": dict(signs_in),
            "tls_config": dict(tls),
            # control has looked at them: a host tells of itself alone
            "honor_labels": True,
            "honor_timestamps": False,
            "http_sd_configs": [
                {"url": f"{url}/anypop/v1/metrics/targets", "oauth2": dict(signs_in), "tls_config": dict(tls)}
            ],
            "metric_relabel_configs": [
                {"regex": "job", "action": "labeldrop"},
                # `instance` is a slot's name here, and not where something was scraped
                {"source_labels": ["incarnation"], "regex": "^$", "target_label": "instance", "replacement": ""},
            ],
        }
    ]


def alerting(addresses: Sequence[str]) -> dict[str, Any]:
    """Alertmanagers of the operator."""
    return {"alertmanagers": [{"static_configs": [{"targets": list(addresses)}]}]}


def command(program: str, settings: Settings) -> list[str]:
    """How the server is started. It takes samples that control fills in, and has no door to change anything else."""
    return [
        program,
        f"--config.file={settings.config}",
        f"--web.config.file={settings.folder / 'web.yml'}",
        f"--storage.tsdb.path={settings.folder / 'data'}",
        f"--storage.tsdb.retention.time={settings.retention}",
        f"--web.listen-address={settings.listen}",
        "--web.enable-remote-write-receiver",
        "--log.level=warn",
    ]


def write(settings: Settings) -> None:
    """Everything that the server reads. Raises `WorldError`."""
    folder = settings.folder
    hashed = bcrypt.hashpw(settings.password.encode()[:72], bcrypt.gensalt(ROUNDS)).decode()
    files = {
        folder / "ca.pem": settings.credential["ca_pem"],
        folder / "client-secret": settings.credential["client_secret"],
        folder / "web.yml": yaml.safe_dump({"basic_auth_users": {USER: hashed}}),
        settings.config: yaml.safe_dump(configuration(settings), sort_keys=False),
    }
    try:
        os.umask(0o077)
        (folder / "rules.d").mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            temporary = path.with_name(f"{path.name}.tmp")
            temporary.write_text(text)
            temporary.rename(path)
    except OSError as error:
        raise WorldError(f"write {folder}", error.strerror or str(error)) from error


def credential_in(path: Path) -> dict[str, str]:
    """What control wrote. Raises `WorldError`."""
    try:
        found = json.loads(path.read_text())
        return {key: str(found[key]) for key in ("url", "ca_pem", "client_id", "client_secret")}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WorldError(f"read {path}", "control has not written it: start control with --scrape-file") from error


def is_loopback(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        return port.isdigit() and ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    options = argparse.ArgumentParser(prog="anypop.control.metrics.prometheus", description="The store of metrics.")
    options.add_argument("--config.file", dest="config", type=Path, required=True, metavar="FILE", help="is written")
    options.add_argument("--client-file", type=Path, required=True, metavar="FILE", help="control's --scrape-file")
    options.add_argument("--password-file", type=Path, required=True, metavar="FILE", help="of user anypop")
    options.add_argument("--listen", default="127.0.0.1:9090", metavar="HOST:PORT", help="an address of loopback")
    options.add_argument("--interval", type=float, default=15, metavar="S", help="between two scrapes (15)")
    options.add_argument("--retention", default="90d", metavar="TIME", help="how long samples stay (90d)")
    options.add_argument("--alertmanager", action="append", default=[], metavar="HOST:PORT", help="repeatable")
    given = options.parse_args(argv)
    try:
        problems: list[Problem] = []
        if not is_loopback(given.listen):
            problems.append(Problem(path="listen", message="must be an address of loopback, like 127.0.0.1:9090"))
        password = secret_in(given.password_file, "password_file", problems)
        if problems:
            raise Invalid(problems)
        program = shutil.which("prometheus")
        if program is None:
            raise WorldError("start the store of metrics", "prometheus is missing: apt-get install prometheus")
        settings = Settings(
            config=given.config.absolute(), credential=credential_in(given.client_file), password=password,
            listen=given.listen, interval_s=given.interval, retention=given.retention,
            alertmanagers=tuple(given.alertmanager),
        )  # fmt: skip
        write(settings)
    except (Invalid, WorldError) as error:
        print(f"anypop.control.metrics.prometheus: {error}", file=sys.stderr)  # noqa: T201 - for whoever started it
        return 1
    logging.shutdown()
    os.execv(program, command(program, settings))
    return 1


if __name__ == "__main__":
    sys.exit(main())
