"""Rules and dashboard that ship: promtool takes them, each rule is tried, each metric in them is told by somebody."""

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

import anypop
from anypop.control.metrics import prometheus
from anypop.control.metrics.counts import Counts
from anypop.control.metrics.exposition import Told, text_of
from anypop.control.metrics.prometheus import Settings, configuration
from anypop.control.state import State

ROOT = Path(__file__).parents[2]
METRICS = Path(anypop.__file__).parent / "control" / "metrics"
RULES = METRICS / "rules" / "anypop.yml"
TESTS = Path(__file__).parents[1] / "rules" / "anypop.yml"
DASHBOARD = METRICS / "dashboards" / "anypop.json"
DOCUMENT = ROOT / "docs" / "metrics.md"
NAME = re.compile(r"anypop[_:][a-z0-9_:]+")


def promtool(*argv: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["promtool", *argv], cwd=folder, capture_output=True, text=True, timeout=60, check=False)


def rules(kind: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"] if kind in rule]


def test_each_rule_does_what_its_test_says(tmp_path: Path) -> None:
    """By `promtool test rules`; and one that is broken by hand fails."""
    text = TESTS.read_text()
    for name, change in (("whole", ("", "")), ("broken", ("anypop_session_up == 0", "anypop_session_up == 1"))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yml").write_text(RULES.read_text().replace(*change))
        (tmp_path / name / "tests.yml").write_text(text.replace("[RULES]", "[rules.yml]"))
    whole = promtool("test", "rules", "tests.yml", folder=tmp_path / "whole")
    assert whole.returncode == 0, whole.stdout + whole.stderr
    assert promtool("test", "rules", "tests.yml", folder=tmp_path / "broken").returncode != 0


def test_no_rule_is_untried_and_each_alert_says_what_to_do() -> None:
    """Every alert has a test in which it fires, every record one of its value."""
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    fired = {a["alertname"] for test in tests for a in test.get("alert_rule_test", ()) if a["exp_alerts"]}
    shown = {name for test in tests for e in test.get("promql_expr_test", ()) for name in NAME.findall(e["expr"])}
    assert fired == {rule["alert"] for rule in rules("alert")}
    assert shown >= {rule["record"] for rule in rules("record")}
    for rule in rules("alert"):
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description"}


def told() -> set[str]:
    """The samples that hosts tell by the document, control by its text, and rules by their names."""
    own = text_of(Told(counts=Counts(), state=State(), now=0.0, moment=0.0, slugs={})).decode()
    families = {line.split()[2] for line in own.splitlines() if line.startswith("# TYPE")}
    of_hosts = r"`(anypop_(?:instance|anycast|session|tunnel|agent|image)_[a-z_]+)`"
    documented = set(re.findall(of_hosts, DOCUMENT.read_text()))
    endings = ("", "_total", "_bucket", "_sum", "_count")
    return {f + e for f in families for e in endings} | documented | {rule["record"] for rule in rules("record")}


def expressions() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_of_rules_and_dashboard_is_one_that_somebody_tells() -> None:
    known = told()
    asked = {name for text in (*expressions(), RULES.read_text()) for name in NAME.findall(text)}
    assert len(asked) > 30
    assert asked <= known, sorted(asked - known)


def broken(change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text())
    change(found)
    return found


def test_the_dashboard_is_one_by_grafanas_own_schema(tmp_path: Path) -> None:
    """By the types of its npm package, with the options of each kind of panel; what breaks one of them is noticed."""
    subprocess.run([ROOT / "script" / "assets", "--packages"], check=True, timeout=600)
    (tmp_path / "node_modules").symlink_to(ROOT / "assets" / "node_modules")
    faults = [
        broken(lambda d: d["panels"][4]["options"]["legend"].update(displayMode="lists")),
        broken(lambda d: d["panels"][4]["options"].pop("tooltip")),
        broken(lambda d: d["panels"][4].update(kind="timeseries")),
        broken(lambda d: d["panels"][4].update(type="graph")),
        broken(lambda d: d["panels"][4]["fieldConfig"]["defaults"].update(unit=5)),
        broken(lambda d: d["panels"][0]["options"].update(colour="red")),
        broken(lambda d: d["panels"][0]["targets"][0].pop("refId")),
        broken(lambda d: d["templating"]["list"][1].update(type="question")),
        broken(lambda d: d.pop("schemaVersion")),
    ]
    lines = [f"export const shipped: Shipped = {DASHBOARD.read_text()};"]
    for n, fault in enumerate(faults):
        lines += ["// @ts-expect-error", f"export const fault{n}: Shipped = {json.dumps(fault)};"]
    (tmp_path / "check.ts").write_text("\n".join([(Path(__file__).parent / "dashboard.ts").read_text(), *lines]))
    compiler = ["node", "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck"]
    modules = ["--module", "esnext", "--moduleResolution", "bundler", "--target", "es2022"]
    argv = [*compiler, *modules, "check.ts"]
    found = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_panels_lie_side_by_side_and_each_query_is_promql(tmp_path: Path) -> None:
    """None lies over another; a query that is none is noticed."""
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["title"] and panel["targets"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken and all(x < 24 for x, _ in cells)
        taken |= cells
        for target in panel["targets"]:
            assert set(re.findall(r"\$\{?(\w+)", target["expr"] + target["datasource"]["uid"])) <= variables
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])

    def check(some: list[str]) -> int:
        made = [{"record": f"x:{n}", "expr": text} for n, text in enumerate(some)]
        (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "x", "rules": made}]}))
        return promtool("check", "rules", str(tmp_path / "queries.yml")).returncode

    assert check(expressions()) == 0
    assert check([*expressions(), "sum by (rate(x)"]) != 0


def test_the_server_takes_what_is_written_for_it(tmp_path: Path) -> None:
    """By `promtool check config`, with the rules; the secret stands in a file of its own."""
    credential = {"url": "https://127.0.0.1:8443", "ca_pem": "", "client_id": "0" * 32, "client_secret": "hush" * 16}
    settings = Settings(
        config=tmp_path / "prometheus.yml", credential=credential, password="hush-hush", listen="127.0.0.1:9090",
        interval_s=15, retention="90d", alertmanagers=("127.0.0.1:9093",),
    )  # fmt: skip
    prometheus.write(settings)
    found = promtool("check", "config", str(settings.config))
    assert found.returncode == 0, found.stdout + found.stderr
    assert f"{len(rules('alert')) + len(rules('record'))} rules found" in found.stdout
    assert promtool("check", "web-config", str(tmp_path / "web.yml")).returncode == 0
    written = settings.config.read_text() + (tmp_path / "web.yml").read_text()
    assert "hush" not in written
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    assert configuration(settings)["storage"]["tsdb"]["out_of_order_time_window"] == "31d"


@pytest.mark.parametrize("part", ["honor_labels", "metric_relabel_configs", "oauth2"])
def test_the_store_is_set_up_as_the_document_says(part: str) -> None:
    """Whoever runs another engine copies this part."""
    (scraping,) = prometheus.scraping("https://control.example", {"client_id": "x"}, {"ca_file": "y"})
    assert scraping[part] and scraping["honor_timestamps"] is False
