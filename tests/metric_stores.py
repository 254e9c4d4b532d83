"""Stores of metrics for tests, each a real server on loopback: Prometheus as Anypop starts it, and VictoriaMetrics.

In: a folder, and what it scrapes if anything. Out: a server that answers, as control's settings have it; ended with the
block.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import yaml

from anypop.control import ca
from anypop.control.metrics.prometheus import USER, Settings, write
from anypop.control.metrics.settings import StoreSettings
from anypop.lab.preflight import free_port
from tests.wait import wait_until

PASSWORD = "a-password-of-tests"
NOBODY = {"url": "https://127.0.0.1:9", "ca_pem": "", "client_id": "0" * 32, "client_secret": "0" * 64}


@contextmanager
def prometheus(
    folder: Path, *, credential: Mapping[str, str] | None = None, interval: float = 15.0, port: int = 0
) -> Iterator[StoreSettings]:
    """By the program that control's package has for it."""
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    if credential is None:
        authority = ca.ensure(folder, ["127.0.0.1"], now=datetime.now(UTC)).ca.read_text()
        credential = {**NOBODY, "ca_pem": authority}
    for name, text in (("scrape.json", json.dumps(dict(credential))), ("password", PASSWORD)):
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    argv = [sys.executable, "-m", "anypop.control.metrics.prometheus", f"--config.file={folder}/prometheus.yml"]
    argv += ["--client-file", str(folder / "scrape.json"), "--password-file", str(folder / "password")]
    argv += ["--listen", f"127.0.0.1:{port}", "--interval", f"{interval:g}"]
    settings = StoreSettings(url=f"http://127.0.0.1:{port}", user=USER, password=PASSWORD, interval=interval)
    with _running(argv, settings, folder / "log"):
        yield settings


@contextmanager
def victoria_metrics(
    folder: Path, *, credential: Mapping[str, str] | None = None, interval: float = 15.0, port: int = 0
) -> Iterator[StoreSettings]:
    """Debian's, which is one program. What was written can be asked for at once. `credential`: it scrapes control, by
    that part of the file that is written for Prometheus.
    """
    folder.mkdir(exist_ok=True)
    port = port or free_port()
    program = shutil.which("victoria-metrics")
    assert program is not None, "script/setup --dev installs victoria-metrics"
    argv = [program, f"-storageDataPath={folder}/data", f"-httpListenAddr=127.0.0.1:{port}", "-retentionPeriod=100y"]
    argv += [f"-httpAuth.username={USER}", f"-httpAuth.password={PASSWORD}", "-search.latencyOffset=0s"]
    argv += ["-search.disableCache", "-memory.allowedBytes=64MB"]
    if credential is not None:
        argv.append(f"-promscrape.config={_scraping(folder, credential, interval)}")
    settings = StoreSettings(url=f"http://127.0.0.1:{port}", user=USER, password=PASSWORD, interval=interval)
    with _running(argv, settings, folder / "log"):
        yield settings


def _scraping(folder: Path, credential: Mapping[str, str], interval: float) -> Path:
    file = folder / "scrape.yml"
    mask = os.umask(0o077)  # which `write` sets for a process of its own
    try:
        config = folder / "prometheus.yml"
        write(
            Settings(
                config=config, credential=credential, password=PASSWORD, listen="", interval_s=interval, retention=""
            )
        )
    finally:
        os.umask(mask)
    known = yaml.safe_load(config.read_text())
    whole = {"global": {"scrape_interval": f"{interval:g}s"}, "scrape_configs": known["scrape_configs"]}
    file.write_text(yaml.safe_dump(whole))
    return file


@contextmanager
def _running(argv: Sequence[str], settings: StoreSettings, log: Path) -> Iterator[None]:
    with log.open("wb") as told:
        process = subprocess.Popen(argv, stdout=told, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: answers(settings) or process.poll() is not None, timeout_s=20, reason=f"{argv[0]} answers")
        assert process.poll() is None, log.read_text()
        yield
    finally:
        process.terminate()
        process.wait(20)


def answers(settings: StoreSettings) -> bool:
    try:
        asked = httpx.get(
            f"{settings.url}/api/v1/query",
            params={"query": "1"},
            auth=(settings.user, settings.password),
            trust_env=False,
        )
    except httpx.TransportError:
        return False
    return asked.status_code == 200
