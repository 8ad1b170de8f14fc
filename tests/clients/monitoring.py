"""Judges what deploy/ has for Prometheus and Grafana: by those who read it, and on the metrics of a
server that runs.

`monitoring.py PROGRAMS PROMETHEUS` needs the programs `keyferry` and `origin` in the directory
PROGRAMS, and `prometheus` and `promtool` in PROMETHEUS.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest
import urllib.parse
import urllib.request
from itertools import combinations
from pathlib import Path

import yaml

from watched import GRANT, PROHIBITED, STRANGER, Origin, Watched, free_port

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
DOCS, DEPLOY = ROOT / "docs", ROOT / "deploy"
CONFIG, RULES = DEPLOY / "prometheus/prometheus.yml", DEPLOY / "prometheus/rules.yml"
RESOURCE = DEPLOY / "prometheus/prometheus-rule.yaml"
DASHBOARD = json.loads((DEPLOY / "grafana/keyferry.json").read_text())
RUNBOOK = DOCS / "how-to/alerts.md"
RUNBOOK_URL = "https://keyferry.example.com/docs/how-to/alerts.md#"
TYPES = HERE / "monitoring/dashboard.ts"
TSC = [HERE / "node_modules/typescript/bin/tsc", "--noEmit", "--strict", "--skipLibCheck"]
TSC += ["--module", "nodenext", "--typeRoots", "/nowhere"]
# What Prometheus itself adds to a series; and the series that are its own.
SCRAPED = {"job", "instance", "le"}
OWN = {"up": set(), "ALERTS": {"alertname", "alertstate", "severity"}}
# What Grafana puts into an expression.
VARIABLES = {
    "$__rate_interval": "1m", "$__range": "10m",
    **{f"${name}": ".*" for name in ("job", "instance", "integration", "connection")},
}
# How long something may take that must come.
SECONDS = 60


def rules():
    return [rule for g in yaml.safe_load(RULES.read_text())["groups"] for rule in g["rules"]]


def alerts():
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def dashboard_expressions():
    """Every expression of the dashboard, by what it is for, with its variables replaced."""
    found = {
        f'{panel["title"]} {target["refId"]}': target["expr"]
        for panel in panels() for target in panel["targets"]
    }
    found |= {query["name"]: query["expr"] for query in DASHBOARD["annotations"]["list"]}
    return {name: replaced(expression) for name, expression in found.items()}


def replaced(expression):
    for name, value in sorted(VARIABLES.items(), reverse=True):
        expression = expression.replace(name, value)
    return expression


def variables():
    """What the dashboard's variables offer: selector and label of each."""
    queries = [v["query"]["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    form = r"label_values\((.+), (\w+)\)"
    return [re.fullmatch(form, replaced(query)).groups() for query in queries]


def selectors(expression):
    """The series that an expression asks for: name, and what each label is compared with."""
    for name, labels in re.findall(r"([A-Za-z_:][\w:]*)\s*(\{[^}]*\})?", without_texts(expression)):
        if name.startswith("keyferry_") or ":" in name or name in OWN:
            yield name, re.findall(r"(\w+)\s*[=!]", labels)


def without_texts(expression):
    return re.sub(r'"[^"]*"', '""', expression)


def grouped(expression):
    """The labels by which an expression aggregates or matches."""
    lists = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
    return {label for labels in lists for label in re.findall(r"\w+", labels)}


def compared(expression):
    """The texts that an expression compares labels with, but for patterns: label, text."""
    for label, texts in re.findall(r'(\w+)\s*[=!]~?\s*"([^"]*)"', expression):
        yield from ((label, text) for text in texts.split("|") if re.fullmatch(r"\w+", text))


def series(text):
    """The metrics that a server shows: the labels of each."""
    shown = {}
    for name, labels in re.findall(r"^(keyferry_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        shown.setdefault(name, set()).update(re.findall(r'(\w+)="', labels))
    return shown


def run(command, **options):
    """How a program ends, and what it prints."""
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SECONDS,
        env={"PATH": os.environ["PATH"]}, **options,
    )
    return done.returncode, done.stdout


class Files(unittest.TestCase):
    def test_promtool_takes_rules_and_configuration(self):
        self.succeeds([PROMTOOL, "check", "rules", "--lint-fatal", RULES])
        self.succeeds([PROMTOOL, "check", "config", "--lint-fatal", CONFIG])

    def test_the_resource_of_kubernetes_has_the_same_alerts(self):
        resource = yaml.safe_load(RESOURCE.read_text())
        self.assertEqual(
            (resource["apiVersion"], resource["kind"]),
            ("monitoring.coreos.com/v1", "PrometheusRule"),
        )
        self.assertEqual(resource["spec"], yaml.safe_load(RULES.read_text()))

    def succeeds(self, command):
        status, said = run(command)
        self.assertEqual(status, 0, said)

    def test_each_alert_fires_on_bad_series_alone(self):
        tests = yaml.safe_load((HERE / "monitoring/alerts.yml").read_text())
        fires, stays_silent = set(), set()
        for test in tests["tests"]:
            for asked in test["alert_rule_test"]:
                expected = asked.get("exp_alerts", [])
                (fires if expected else stays_silent).add(asked["alertname"])
                for alert in expected:
                    self.expect_annotations(asked["alertname"], alert)
        self.assertEqual((fires, stays_silent), ({*alerts()}, {*alerts()}))
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "alerts.yml"
            file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], **tests}))
            self.succeeds([PROMTOOL, "test", "rules", file])

    def expect_annotations(self, name, alert):
        """Adds what an alert says, with the labels that it is to have and the text of its value."""
        labels, value = alert["exp_labels"], str(alert.pop("value", None))
        alert["exp_annotations"] = {
            key: re.sub(
                r"\{\{ \$(?:labels\.(\w+)|value( \| \w+)?) \}\}",
                lambda found: labels[found[1]] if found[1] else value, text,
            )
            for key, text in alerts()[name]["annotations"].items()
        }

    def test_each_alert_has_all_that_somebody_needs_at_night(self):
        for name, alert in alerts().items():
            with self.subTest(name=name):
                self.assertEqual(
                    {*alert["annotations"]}, {"summary", "description", "runbook_url"},
                )
                self.assertEqual({*alert["labels"]}, {"severity"})
                self.assertIn(alert["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(alert["annotations"]["runbook_url"], RUNBOOK_URL + name.lower())

    def test_the_runbook_has_each_alert_and_no_other(self):
        headings = re.findall(r"^#+ (Keyferry\w+)$", RUNBOOK.read_text(), re.MULTILINE)
        self.assertEqual(sorted(headings), sorted(alerts()))

    def test_the_alert_on_conns_is_for_the_default_maximum(self):
        default = tomllib.loads((ROOT / "config/default.toml").read_text())
        most = default["proxy"]["max_connections"]
        expression = alerts()["KeyferryCallerConnsNearLimit"]["expr"].strip()
        self.assertEqual(expression, f"keyferry_caller_connections > {most * 4 // 5}")

    def test_labels_are_compared_with_what_the_reference_lists(self):
        errors = (DOCS / "reference/errors.md").read_text()
        logging = (DOCS / "reference/logging.md").read_text()
        [metrics] = re.findall(r"^## Metrics$(.*?)^## ", logging, re.DOTALL | re.MULTILINE)
        codes = set(re.findall(r"^### `(\w+)`$", errors, re.MULTILINE))
        listed = set(re.findall(r"`(\w+)`", metrics)) | {"3xx", "4xx", "allow", "refuse"}
        expressions = [rule["expr"] for rule in rules()] + [*dashboard_expressions().values()]
        for label, text in (pair for expression in expressions for pair in compared(expression)):
            if label not in ("job", "alertname", "alertstate"):
                self.assertIn(text, codes if label == "code" else listed, label)

    def test_grafana_knows_each_member_of_the_dashboard(self):
        self.assertEqual(self.compile(DASHBOARD), (0, ""))

    def test_grafana_does_not_know_a_member_of_another_name(self):
        panel = next(p for p in DASHBOARD["panels"] if p["type"] == "timeseries")
        worse = json.loads(json.dumps(panel))
        worse["fieldConfig"]["defaults"]["custom"]["drawStil"] = "line"
        status, said = self.compile({**DASHBOARD, "panels": [worse]})
        self.assertNotEqual(status, 0)
        self.assertIn("drawStil", said)

    def compile(self, dashboard):
        """What the compiler says of a dashboard, held against Grafana's types."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "check.ts"
            types = f'import type {{ Keyferry }} from "{TYPES.with_suffix("")}";\n'
            file.write_text(f"{types}export const checked: Keyferry = {json.dumps(dashboard)};\n")
            return run([NODE, *TSC, file])

    def test_each_panel_has_its_place_and_says_what_it_shows(self):
        ids = [panel["id"] for panel in DASHBOARD["panels"]]
        self.assertEqual(len(ids), len({*ids}))
        for panel in panels():
            self.assertTrue(panel["title"] and panel["description"].endswith("."), panel["title"])
            refs = [target["refId"] for target in panel["targets"]]
            self.assertEqual(refs, sorted({*refs}), panel["title"])
        for one, other in combinations(DASHBOARD["panels"], 2):
            self.assertFalse(overlap(one["gridPos"], other["gridPos"]), (one["id"], other["id"]))
        self.assertTrue(all(p["gridPos"]["x"] + p["gridPos"]["w"] <= 24 for p in panels()))

    def test_every_query_asks_the_data_source_that_is_chosen(self):
        text = json.dumps(DASHBOARD)
        chosen = json.dumps({"type": "prometheus", "uid": "${datasource}"})
        self.assertEqual(text.count('"datasource": {'), text.count(f'"datasource": {chosen}'))


def overlap(one, other):
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )


class Running(unittest.TestCase):
    """A server with traffic of every kind, and a Prometheus that scrapes it by our files."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.watched = Watched(PROGRAMS, directory.name)
        cls.addClassCleanup(cls.watched.stop)
        cls.watched.set()
        cls.watched.authorize()
        cls.start_prometheus(Path(directory.name))
        cls.traffic()
        Origin.refuses = "invalid_client"
        cls.watched.refresh()

    @classmethod
    def traffic(cls):
        """Requests that are answered well, answered badly, and refused."""
        for path in ("/status/200", "/status/401", "/status/503"):
            cls.watched.send("orders", path)
        cls.watched.send(GRANT)
        cls.watched.send(STRANGER)
        cls.watched.send(PROHIBITED)
        cls.watched.send("orders", token="no-token")

    @classmethod
    def start_prometheus(cls, directory):
        """Starts Prometheus on our files: it scrapes each second, and alerts wait for nothing."""
        config = yaml.safe_load(CONFIG.read_text())
        config["global"] = {name: "1s" for name in config["global"]}
        config["rule_files"] = [str(directory / "rules.yml")]
        [job] = config["scrape_configs"]
        job["static_configs"] = [{"targets": [f"127.0.0.1:{cls.watched.api}"]}]
        (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
        groups = yaml.safe_load(RULES.read_text())
        for rule in (rule for group in groups["groups"] for rule in group["rules"]):
            # On a busy machine one scrape may come late.
            if "up{" not in rule["expr"]:
                rule.pop("for", None)
        (directory / "rules.yml").write_text(yaml.safe_dump(groups))
        cls.port = free_port()
        flags = [
            "--config.file=prometheus.yml", "--storage.tsdb.path=prometheus",
            f"--web.listen-address=127.0.0.1:{cls.port}",
        ]
        # It speaks to standard error alone.
        command = ["/bin/sh", "-c", 'exec "$0" "$@" 2>&1', PROMETHEUS, *flags]
        cls.watched.start(command, "Server is ready to receive web requests")

    def ask(self, path, **query):
        """What Prometheus answers."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=SECONDS) as answer:
            return json.load(answer)["data"]

    def soon(self, found, what):
        """What comes within a while, with more traffic until then."""
        deadline = time.monotonic() + SECONDS
        while not (value := found()):
            self.assertLess(time.monotonic(), deadline, what)
            self.traffic()
            time.sleep(0.2)
        return value

    def value(self, expression):
        """What an expression has as soon as it has something."""
        return self.soon(lambda: self.ask("query", query=expression)["result"], expression)

    def test_each_metric_and_label_that_is_asked_for_is_shown(self):
        shown = series(self.watched.metrics())
        recorded = {rule["record"]: grouped(rule["expr"]) for rule in rules() if "record" in rule}
        known = {**OWN, **recorded, **shown}
        expressions = [*dashboard_expressions().values()]
        expressions += [selector for selector, _label in variables()]
        for expression in [*expressions, *(rule["expr"] for rule in rules())]:
            labels = set()
            for name, asked in selectors(expression):
                self.assertIn(name, known, expression)
                self.assertLessEqual({*asked}, known[name] | SCRAPED, expression)
                labels |= known[name]
            self.assertLessEqual(grouped(expression), labels | SCRAPED, expression)
        # And the dashboard leaves none of them out.
        on_it = {name for expression in expressions for name, _ in selectors(expression)}
        whole = {re.sub("_(sum|count)$", "_bucket", name) for name in shown}
        self.assertEqual(whole - on_it, set())

    def test_each_expression_of_the_dashboard_has_a_value(self):
        for name, expression in dashboard_expressions().items():
            with self.subTest(name=name):
                self.value(expression)
        for selector, label in variables():
            with self.subTest(label=label):
                asked = {"match[]": selector}
                self.soon(lambda: self.ask(f"label/{label}/values", **asked), selector)

    def test_each_label_in_a_legend_is_one_of_the_result(self):
        for panel in panels():
            for target in panel["targets"]:
                said = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                for row in self.value(replaced(target["expr"])):
                    self.assertLessEqual(said, {*row["metric"]}, panel["title"])

    def test_prometheus_evaluates_each_rule(self):
        def evaluated():
            [group] = self.ask("rules")["groups"]
            return group["rules"] if all(r["health"] != "unknown" for r in group["rules"]) else None

        found = self.soon(evaluated, "rules are not evaluated")
        self.assertEqual({rule.get("lastError") for rule in found}, {None})
        self.assertEqual({rule["health"] for rule in found}, {"ok"})
        self.assertEqual(len(found), len(rules()))

    def test_alerts_fire_on_the_faults_of_the_server_alone(self):
        expected = {
            ("KeyferryConnectionFailing", STRANGER), ("KeyferryConnectionFailing", PROHIBITED),
            ("KeyferryConnectionFailing", "orders"),
            ("KeyferryOriginNotTrusted", STRANGER), ("KeyferryOriginNotTrusted", PROHIBITED),
            ("KeyferryRefreshDenied", None), ("KeyferryCallersUnknown", None),
            ("KeyferryHandshakesFailing", None),
        }

        def firing():
            return {
                (alert["labels"]["alertname"], alert["labels"].get("connection")): alert
                for alert in self.ask("alerts")["alerts"] if alert["state"] == "firing"
            }

        fired = self.soon(lambda: found if expected <= {*(found := firing())} else None, "no alert")
        self.assertEqual({*fired}, expected)
        said = fired["KeyferryOriginNotTrusted", STRANGER]["annotations"]
        self.assertEqual(
            said["summary"], f"The origin of shop.{STRANGER} is refused: CertificateInvalid",
        )
        self.assertEqual(said["runbook_url"], f"{RUNBOOK_URL}keyferryoriginnottrusted")


PROGRAMS = Path(sys.argv[1]).resolve()
PROMETHEUS, PROMTOOL = (Path(sys.argv[2]).resolve() / name for name in ("prometheus", "promtool"))
NODE = shutil.which("node")

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
