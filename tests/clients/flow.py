"""Judges the examples that run actions and requests: the flow runner on bundles of every shape,
and the runners in Python and TypeScript.

`flow.py PROGRAMS` starts an origin and the proxy out of the directory PROGRAMS.
"""

import http.server
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

from programs import Programs

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
NODE_MODULES = HERE / "node_modules"
HOSTS = ["shop.zendesk.com", "api.carrier.example.test", "eu.carrier.example.test"]
ODD = "odd.carrier.example.test"
CONFIG = """
[store]
url = "memory:"
[zis]
allow_static_zendesk = true
[proxy]
listen = ["127.0.0.1:0"]
[api]
listen = "127.0.0.1:0"
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[upstream.resolve]
{pins}
[[connections]]
integration = "demo"
type = "bearer_token"
name = "zendesk"
allowed_domain = "shop.zendesk.com"
token = {{ file = "account" }}
[[connections]]
integration = "demo"
type = "api_key"
name = "carrier"
allowed_domain = "*.carrier.example.test"
header_name = "X-Api-Key"
api_key = {{ file = "carrier" }}
[[tokens]]
name = "flow"
integration = "demo"
scopes = ["proxy"]
token = {{ file = "token" }}
"""


class Odd(http.server.BaseHTTPRequestHandler):
    """An origin that answers as no flow would wish."""

    def do_GET(self):
        kind = self.path.lstrip("/")
        if kind == "hangs":
            HANGING.wait(30)
            return
        status = int(kind) if kind.isdigit() else 200
        body = {"large": b"[" + b"1," * 1_100_000 + b"1]", "empty": b""}.get(kind, b"plain text")
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status in (301, 302):
            self.send_header("Location", "https://evil.example.test/")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HANGING = threading.Event()


def odd(certificate, key):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Odd)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


class Flow(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.programs = Programs(PROGRAMS, directory.name)
        cls.addClassCleanup(cls.programs.stop)
        cls.directory, cls.judged = cls.programs.directory, 0
        cls.token = cls.programs.run("keyferry", "token", "generate")
        cls.secrets = {name: secrets.token_urlsafe(24) for name in ("account", "carrier")}
        for name, content in (*cls.secrets.items(), ("token", cls.token)):
            (cls.directory / name).touch(0o600)
            (cls.directory / name).write_text(content)
        said = cls.programs.start(["examples/origin", "origin", *HOSTS, ODD], r"address (\S+)\nca ")
        pair = (cls.directory / "origin/leaf.pem", cls.directory / "origin/leaf.key")
        pins = {**{host: said[1] for host in HOSTS}, ODD: f"127.0.0.1:{odd(*pair)}"}
        pins = "\n".join(f'"{host}:443" = "{address}"' for host, address in pins.items())
        (cls.directory / "k.toml").write_text(CONFIG.format(pins=pins))
        serve = ["keyferry", "serve", "--config", "k.toml", "--data-dir", "data"]
        cls.proxy = cls.programs.start(serve, r"proxy +(http\S+)")[1]
        cls.addClassCleanup(HANGING.set)

    def environment(self):
        return {
            "PATH": os.environ["PATH"], "KEYFERRY_TOKEN": self.token, "KEYFERRY_PROXY": self.proxy,
        }

    def run_example(self, *command):
        done = subprocess.run(
            list(map(str, command)), env=self.environment(), cwd=self.directory, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
        )
        for secret in (*self.secrets.values(), self.token):
            self.assertNotIn(secret, done.stdout + done.stderr)
        return done

    def flow(self, bundle, action, inputs=None, *more):
        (self.directory / "input.json").write_text(json.dumps(inputs or {}))
        file = bundle if isinstance(bundle, Path) else EXAMPLES / f"flow/bundles/{bundle}.json"
        command = [sys.executable, EXAMPLES / "flow/flow.py", file, action, "--proxy", self.proxy]
        return self.run_example(*command, "--input", "input.json", "--subdomain", "shop", *more)

    def received(self):
        found = []
        while (file := self.directory / "origin" / str(self.judged + 1)).exists():
            type(self).judged += 1
            head, _, body = file.read_text().partition("\n\n")
            request, *fields = head.splitlines()
            found.append((*request.split()[:2], dict(f.split(": ", 1) for f in fields), body))
        return found

    def arrives(self, bundle, action, inputs, method, host, target, body=None, **fields):
        done = self.flow(bundle, action, inputs)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("received", json.loads(done.stdout))
        [(sent_method, sent_target, sent, sent_body)] = self.received()
        self.assertEqual((sent_method, sent["host"], sent_target), (method, host, target))
        secret = {"shop.zendesk.com": ("authorization", f"Bearer {self.secrets['account']}")}
        name, value = secret.get(host, ("x-api-key", self.secrets["carrier"]))
        self.assertEqual(sent[name], value)
        for field, value in fields.items():
            self.assertEqual(sent[field.replace("_", "-")], value)
        self.assertEqual(json.loads(sent_body) if sent_body else None, body)

    def fails(self, text, bundle, action, inputs=None, *more):
        done = self.flow(bundle, action, inputs, *more)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn(text, done.stderr)
        self.assertEqual(self.received(), [])

    def test_actions_of_the_account_have_a_path(self):
        account = "shop.zendesk.com"
        for action, inputs, target in (
            ("list_tickets", {}, "/api/v2/tickets.json"),
            ("show_ticket", {"ticket": {"id": 7}}, "/api/v2/tickets/7.json"),
            ("find_by_reference", {"reference": "a b&c=1"},
             "/api/v2/tickets.json?external_id=a%20b%26c%3D1"),
            ("next_page", {"next_page": f"https://{account}/api/v2/tickets.json?page=2"},
             "/api/v2/tickets.json?page=2"),
            ("whole_url_as_path", {}, "/api/v2/users/me.json"),
        ):
            with self.subTest(action=action):
                self.arrives("helpdesk", action, inputs, "GET", account, target)
        body = {"user": {"name": "Zoë", "notes": "Grüße 🚢 from the harbour"}}
        self.arrives("helpdesk", "rename_user", {"id": 9, "name": "Zoë"}, "PUT", account,
                     "/api/v2/users/9.json", body, content_type="application/json")

    def test_actions_of_others_have_a_url(self):
        api = "api.carrier.example.test"
        self.arrives("carrier", "create_parcel", {"payload": {"to": "Köln", "n": [1, None]}}, "POST",
                     api, "/v1/parcels", {"to": "Köln", "n": [1, None]})
        self.arrives("carrier", "book_pickup",
                     {"name": "Ann", "phones": ["1", "2"], "street": "Kai 3"}, "POST", api, "/v1/pickups",
                     {"contact": {"name": "Ann", "phone": "1"}, "stops": [{"street": "Kai 3"}, {"floor": 3}]})
        self.arrives("carrier", "forward", {"payload": {"a": 1}}, "POST", api, "/v1/raw", {"a": 1})
        self.arrives("carrier", "literal", {"allData": 1}, "POST", api, "/v1/literal",
                     {"payload": "$.allData"})
        self.arrives("carrier", "by_region", {"region": "eu"}, "GET", "eu.carrier.example.test",
                     "/v1/depots", accept="application/json")
        self.arrives("carrier", "with_accept", {}, "GET", api, "/v1/problems",
                     accept="application/json, application/problem+json")
        self.arrives("carrier", "header_object", {"id": "p 1", "batch": 4, "who": "a@b"}, "PATCH", api,
                     "/v1/parcels/p%201?notify=a%40b&mode=a%26b", {"state": "shipped"},
                     x_batch="4", if_match="*")

    def test_what_can_not_be_sent_is_not(self):
        self.fails("must begin with https://", "helpdesk", "relative_url", {"id": 1})
        self.fails("names no connection", "carrier", "by_hand", {"token": "t"})
        self.fails("JSON path not found: $.region", "carrier", "by_region", {})
        self.fails("DomainNotAllowed", "carrier", "by_region", {"region": "eu.evil.example/"})
        self.fails("has no action nothing", "carrier", "nothing")
        self.fails("is no JSON", HERE / "flow.py", "x")

    def test_failures_have_the_words_that_flows_know(self):
        bundle = {"resources": {}}
        for name, connection, path in (
            ("missing", "nobody", "x"), ("gone", "carrier", "404"), ("moved", "carrier", "302"),
            ("large", "carrier", "large"), ("text", "carrier", "text"), ("empty", "carrier", "empty"),
            ("hangs", "carrier", "hangs"),
        ):
            definition = {"method": "GET", "url": f"https://{ODD}/{path}", "connectionName": connection}
            bundle["resources"][name] = {
                "type": "ZIS::Action::Http", "properties": {"name": name, "definition": definition},
            }
        file = self.directory / "bundle.json"
        file.write_text(json.dumps(bundle))
        self.fails('Cannot start flow because the connection named "nobody" does not exist', file, "missing")
        self.fails("external action failed due to status code: 404", file, "gone")
        self.fails("external action failed due to status code: 302", file, "moved")
        self.fails("payload is larger than 2mb", file, "large")
        self.fails("longer than 1 seconds", file, "hangs", {}, "--timeout", "1")
        for action, result in (("text", {"__httpresponse": "plain text"}), ("empty", None)):
            done = self.flow(file, action)
            self.assertEqual((done.returncode, json.loads(done.stdout)), (0, result))

    def test_the_runners_name_a_connection_and_know_a_refusal(self):
        compiled = self.directory / "runner"
        tsc = ["node", NODE_MODULES / "typescript/bin/tsc", "--strict", "--target", "es2022",
               "--module", "es2022", "--moduleResolution", "bundler", "--types", "node",
               "--typeRoots", NODE_MODULES / "@types", "--outDir", compiled,
               EXAMPLES / "runners/runner.ts"]
        done = self.run_example(*tsc)
        self.assertEqual(done.returncode, 0, done.stdout)
        (compiled / "package.json").write_text('{"type": "module"}')
        for runner in (
            [sys.executable, EXAMPLES / "runners/runner.py"], ["node", compiled / "runner.js"],
        ):
            with self.subTest(runner=str(runner[-1])):
                served = self.run_example(*runner, "https://api.carrier.example.test/v1?a=1", "carrier")
                self.assertEqual(served.returncode, 0, served.stderr)
                self.assertRegex(served.stdout, r"^200 .*received")
                [(_, target, fields, _)] = self.received()
                self.assertEqual((target, fields["x-api-key"]), ("/v1?a=1", self.secrets["carrier"]))
                refused = self.run_example(*runner, "https://shop.zendesk.com/", "carrier")
                self.assertEqual(refused.returncode, 1)
                self.assertIn("DomainNotAllowed", refused.stderr)
                odd = self.run_example(*runner, f"https://{ODD}/403", "carrier")
                self.assertEqual((odd.returncode, odd.stdout), (0, "403 plain text\n"))


PROGRAMS = sys.argv[1]

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
