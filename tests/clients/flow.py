"""Judges the examples that call an API through Keyferry: the flow runner and the two runners.

`flow.py PROGRAMS` starts an origin and the proxy out of the directory PROGRAMS, and an origin of
its own for the answers that the other never gives. What is held against what should be: what has
arrived at the origin, what came out, and how each failure is worded.
"""

import base64
import json
import os
import secrets
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from programs import Programs

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
BUNDLES = EXAMPLES / "flow/bundles"
ACCOUNT = "harbour.zendesk.com"
API = "api.example.test"
RUDE = "rude.example.test"
HOSTS = [ACCOUNT, API, "eu.calls.example.test", "evil.example.test", RUDE]
CONFIG = """
[proxy]
listen = ["127.0.0.1:0"]
[api]
listen = "127.0.0.1:0"
[store]
url = "memory:"
[zis]
allow_static_zendesk = true
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[[tokens]]
name = "runner"
integration = "demo"
scopes = ["proxy"]
token = {{ file = "token" }}
[[connections]]
integration = "demo"
type = "basic_auth"
name = "zendesk"
allowed_domain = "harbour.zendesk.com"
username = "pilot@example.test/token"
password = {{ file = "zendesk" }}
[[connections]]
integration = "demo"
type = "bearer_token"
name = "orders"
allowed_domain = "api.example.test"
token = {{ file = "orders" }}
[[connections]]
integration = "demo"
type = "api_key"
name = "calls"
allowed_domain = "*.calls.example.test"
header_name = "X-Api-Key"
api_key = {{ file = "calls" }}
[[connections]]
integration = "demo"
type = "bearer_token"
name = "rude"
allowed_domain = "rude.example.test"
token = {{ file = "orders" }}
[upstream.resolve]
"""

# The bundle, the action and its inputs; the method and target that arrive, some of the fields,
# and the body. The field with the credential is judged beside them.
ARRIVES = [
    ("support", "list_groups", {}, "GET /api/v2/groups.json", {"accept": "application/json"}, ""),
    ("support", "show_ticket", {"ticket": {"id": 7}}, "GET /api/v2/tickets/7.json", {}, ""),
    # In a path a value stays a value: it starts no query.
    (
        "support", "show_ticket", {"ticket": {"id": "7?x=ü#"}},
        "GET /api/v2/tickets/7%3Fx=%C3%BC%23.json", {}, "",
    ),
    (
        "support", "find_ticket", {"reference": "A&B 1/2=ö", "tag": "sea & land"},
        "GET /api/v2/tickets.json?external_id=A%26B%201%2F2%3D%C3%B6"
        "&sort_by=created_at&tag=sea%20%26%20land",
        {}, "",
    ),
    (
        "support", "next_page",
        {"next_page": f"https://{ACCOUNT}/api/v2/tickets.json?page=2&x=%20"},
        "GET /api/v2/tickets.json?page=2&x=%20", {}, "",
    ),
    ("support", "next_page", {"next_page": "/api/v2/a.json"}, "GET /api/v2/a.json", {}, ""),
    ("support", "show_brand", {"brand": 3}, "GET /api/v2/brands/3.json", {}, ""),
    (
        "support", "greet_requester", {"ticket": {"id": 7, "requester": "Zoë"}},
        "PUT /api/v2/tickets/7.json", {"content-type": "application/json"},
        '{"ticket":{"comment":{"body":"Grüße, Zoë ⛴️","public":true}}}',
    ),
    (
        "support", "rename_organization", {"organization": 5, "name": "Ærø Færge"},
        "PATCH /api/v2/organizations/5.json", {"content-type": "application/json; charset=utf-8"},
        '{"organization":{"name":"Ærø Færge"}}',
    ),
    (
        "orders", "create_order", {"payload": {"item": "rope", "metres": [1, 2.5, None]}},
        "POST /v1/orders", {"content-type": "application/json"},
        '{"item":"rope","metres":[1,2.5,null]}',
    ),
    (
        "orders", "create_customer",
        {
            "first": "Ada", "last": "L", "phones": [{"number": "+45 1"}], "since": 1852,
            "vip": True,
        },
        "POST /v1/customers", {},
        '{"customer":{"name":"Ada L","contacts":[{"kind":"phone","phone":"+45 1"},'
        '{"kind":"note","text":["since 1852",{"vip":true}]}]}}',
    ),
    (
        "orders", "forward_order", {"payload": {"a": ["{{$.b}}"]}},
        "POST /v1/inbox", {}, '{"a":["{{$.b}}"]}',
    ),
    ("orders", "forward_order", {"payload": "no JSON"}, "POST /v1/inbox", {}, '"no JSON"'),
    ("orders", "log_order", {"allData": 1}, "POST /v1/log", {}, '{"payload":"$.allData"}'),
    # A full name holds the integration, and the proxy is told.
    (
        "orders", "zis:demo:action:show_order", {"order": 9}, "GET /v1/orders/9",
        {"accept": "application/json, application/problem+json"}, "",
    ),
    (
        "orders", "replace_order", {"order": 9, "source": "quay", "state": "sent"},
        "PUT /v1/orders/9",
        {"content-type": "application/vnd.orders+json", "x-request-source": "quay"},
        '{"state":"sent"}',
    ),
    (
        "regions", "list_calls", {"baseUrl": "https://eu.calls.example.test", "since": "1 May"},
        "GET /api/v2/calls?since=1%20May", {}, "",
    ),
    (
        "regions", "call_endpoint", {"endpoint": "https://EU.calls.example.test", "event": "up"},
        "POST /", {}, '{"event":"up"}',
    ),
]

# Shapes that have no request, and why.
NOT_SENT = [
    ("support", "show_user", {"user": 1}, "The action's url must begin with https://"),
    ("regions", "call_unnamed", {"secret": "s"}, "The action names no connection"),
    ("support", "show_ticket", {}, "JSON path not found: $.ticket.id"),
    ("orders", "create_order", {}, "JSON path not found: $.payload"),
    (
        "orders", "create_customer", {"first": "A", "last": "B", "phones": []},
        "Error Resolving JSON Params: JSON path not found: $.phones[0].number",
    ),
    ("support", "next_page", {"next_page": "https://evil.example.test/"}, "or be a URL of"),
    ("support", "next_page", {"next_page": ".evil.example.test/"}, "must begin with one /"),
    ("support", "next_page", {"next_page": "@evil.example.test/"}, "must begin with one /"),
    ("support", "next_page", {"next_page": "//evil.example.test/"}, "must begin with one /"),
    (
        "support", "next_page", {"next_page": f"https://{ACCOUNT}@evil.example.test/"},
        "and no user or password",
    ),
    (
        "regions", "list_calls", {"baseUrl": "https://evil.example.test", "since": 1},
        "Keyferry refused the request (DomainNotAllowed): ",
    ),
    ("regions", "call_endpoint", {"endpoint": "http://eu.calls.example.test", "event": 1},
     "must begin with https://"),
    ("regions", "call_endpoint", {"endpoint": "https://eu.calls.example.test:444", "event": 1},
     "Keyferry refused the request (PortNotAllowed): "),
    ("orders", "zis:other:action:show_order", {"order": 9},
     "Keyferry refused the request (ConnectionForbidden): "),
    ("orders", "nothing", {}, "The bundle has no action nothing; it has: create_order, "),
]


class Rude(BaseHTTPRequestHandler):
    """An origin that answers as its path says."""

    protocol_version = "HTTP/1.1"
    seen: list[str] = []

    def do_GET(self):
        self.seen.append(self.path)
        _, kind, *rest = self.path.split("/")
        match kind:
            case "status":
                self.tell(int(rest[0]), b'{"hidden":"detail"}', location=f"https://{RUDE}/next")
            case "text":
                self.tell(200, "blød".encode("latin-1"), "text/plain; charset=latin-1")
            case "nothing":
                self.tell(204, b"")
            case "problem":
                self.tell(200, b'{"a":[1,"\xc3\xb8"]}', "application/problem+json")
            case "broken":
                self.tell(200, b'{"a":')
            case "size":
                self.tell(200, json.dumps("x" * (int(rest[0]) - 2)).encode())
            case "own":
                status = 'cdn; details="no, keyferry; no", keyferry; error=dns_error'
                self.tell(502, b'{"errors":[{"code":"Own","title":"t"}]}', proxy_status=status)
            case "slow":
                time.sleep(6)
                self.tell(200, b"{}")
            case "drip":
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "1000")
                self.end_headers()
                for _ in range(60):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.1)

    def tell(self, status, body, kind="application/json", **fields):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A caller that has lost its patience is what some of the cases are about."""


class Stage(Programs):
    """The origins and the proxy in a directory of their own."""

    judged = 0

    def set(self):
        self.secrets = {name: secrets.token_urlsafe(24) for name in ("zendesk", "orders", "calls")}
        self.token = self.run("keyferry", "token", "generate")
        for name, secret in (*self.secrets.items(), ("token", self.token)):
            (self.directory / name).touch(0o600)
            (self.directory / name).write_text(secret)
        origin = self.start(["origin", "origin", *HOSTS], r"address (\S+)\nca ")[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            self.directory / "origin/leaf.pem", self.directory / "origin/leaf.key"
        )
        self.rude = Quiet(("127.0.0.1", 0), Rude)
        self.rude.socket = context.wrap_socket(self.rude.socket, server_side=True)
        threading.Thread(target=self.rude.serve_forever, daemon=True).start()
        addresses = dict.fromkeys(HOSTS, origin) | {RUDE: f"127.0.0.1:{self.rude.server_port}"}
        pins = "".join(f'"{host}:443" = "{address}"\n' for host, address in addresses.items())
        (self.directory / "keyferry.toml").write_text(CONFIG.format() + pins)
        serve = ["keyferry", "serve", "--config", "keyferry.toml", "--data-dir", "data"]
        self.proxy = self.start(serve, r"proxy +(http\S+)")[1]

    def received(self):
        """What the origin has received since the last time: the request line, fields and body."""
        while (file := self.directory / "origin" / str(self.judged + 1)).exists():
            self.judged += 1
            head, _, body = file.read_text().partition("\n\n")
            line, *fields = head.splitlines()
            pairs = [tuple(field.split(": ", 1)) for field in fields]
            yield line.rpartition(" ")[0], pairs, body

    def end(self):
        self.rude.shutdown()
        self.rude.server_close()
        _origin, proxy = self.stop()
        assert proxy == 0, proxy
        for file, said in self.said().items():
            assert not [s for s in (self.token, *self.secrets.values()) if s in said], file

    def call(self, command, token=None, stdin="", **options):
        """Runs an example in an environment of its own, which holds no credential."""
        environment = {
            "KEYFERRY_TOKEN": self.token if token is None else token,
            "KEYFERRY_PROXY": self.proxy,
            # Node says that its support of TypeScript is young.
            "NODE_NO_WARNINGS": "1",
            "PATH": os.environ["PATH"],
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        return subprocess.run(
            command, cwd=self.directory, env=environment, text=True, encoding="utf-8",
            input=stdin, capture_output=True, timeout=60, **options,
        )

    def flow(self, bundle, action, inputs, *arguments, **options):
        command = [
            sys.executable, EXAMPLES / "flow/flow.py", bundle, action, "--input", "-",
            "--proxy", self.proxy, "--subdomain", "harbour", *arguments,
        ]
        return self.call(command, stdin=json.dumps(inputs), **options)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.stage = Stage(PROGRAMS, directory.name)
        cls.stage.set()
        cls.addClassCleanup(cls.stage.end)

    def judge_output(self, done):
        """No example ever shows a token or a credential, or its own inside."""
        for secret in (self.stage.token, *self.stage.secrets.values()):
            self.assertNotIn(secret, done.stdout + done.stderr)
        self.assertNotIn("Traceback", done.stderr)

    def judge_failure(self, done, told):
        self.judge_output(done)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertTrue(done.stderr.startswith("flow.py: "), done.stderr)
        self.assertIn(told, done.stderr)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)


class Flow(Case):
    def action(self, *arguments, inputs=None, options=(), **definition):
        """Runs an action that is made for one case."""
        definition = {"method": "GET", "connectionName": "orders"} | definition
        action = {
            "type": "ZIS::Action::Http", "properties": {"name": "it", "definition": definition}
        }
        bundle = self.stage.directory / "it.json"
        bundle.write_text(json.dumps({"resources": {"key": action}}))
        return self.stage.flow(bundle, "it", inputs or {}, *arguments, *options)

    def test_a_value_in_a_path_is_part_of_one_segment(self):
        for value, segment in [
            ("a/b", "a%2Fb"), ("a\\b", "a%5Cb"), ("..a", "..a"), ("%2e%2e", "%252e%252e"),
            ("a?b#c", "a%3Fb%23c"),
        ]:
            with self.subTest(value=value):
                done = self.action(url=f"https://{API}/v1/{{{{$.x}}}}/end", inputs={"x": value})
                self.judge_output(done)
                self.assertEqual(done.returncode, 0, done.stderr)
                [(arrived, *_)] = self.stage.received()
                self.assertEqual(arrived, f"GET /v1/{segment}/end")
        for url, inputs in [
            ("/v1/{{$.x}}", {"x": "../../admin"}),
            ("/v1/{{$.x}}", {"x": ".."}),
            ("/v1/{{$.x}}/a", {"x": "..\\.."}),
            ("/v1/{{$.x}}{{$.x}}/a", {"x": "."}),
            ("/v1/{{$.x}}/a", {"x": "."}),
        ]:
            with self.subTest(url=url, inputs=inputs):
                done = self.action(url=f"https://{API}{url}", inputs=inputs)
                self.judge_failure(done, "A value would lead to another path")
        self.assertEqual(list(self.stage.received()), [])

    def test_text_under_another_type_than_json_is_sent_as_it_is(self):
        form = "application/x-www-form-urlencoded"
        for kind, body, sent in [
            (form, "grant=x&note=a%20b", "grant=x&note=a%20b"),
            (form, "a={{$.a}}&b=1", "a=1%262%20%C3%B6&b=1"),
            (form, "{{$.whole}}", "c=3&d=4"),
            ("text/plain; charset=utf-8", "{{$.a}}!", "1&2 ö!"),
            ("application/vnd.orders+json", "text", '"text"'),
        ]:
            with self.subTest(kind=kind, body=body):
                done = self.action(
                    method="POST", url=f"https://{API}/v1", requestBody=body,
                    headers={"Content-Type": kind}, inputs={"a": "1&2 ö", "whole": "c=3&d=4"},
                )
                self.judge_output(done)
                self.assertEqual(done.returncode, 0, done.stderr)
                [(_, pairs, content)] = self.stage.received()
                self.assertEqual((dict(pairs)["content-type"], content), (kind, sent))

    def test_the_bundles_send_what_their_actions_say(self):
        for bundle, action, inputs, line, fields, body in ARRIVES:
            with self.subTest(action=action, inputs=inputs):
                done = self.stage.flow(BUNDLES / f"{bundle}.json", action, inputs)
                self.judge_output(done)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                [(arrived, pairs, content)] = self.stage.received()
                self.assertEqual(json.loads(done.stdout), {"received": self.stage.judged})
                self.assertEqual((arrived, content), (line, body))
                self.judge_fields(bundle, pairs, fields)

    def judge_fields(self, bundle, pairs, fields):
        held = dict(pairs)
        self.assertLessEqual(fields.items(), held.items())
        basic = base64.b64encode(
            f"pilot@example.test/token:{self.stage.secrets['zendesk']}".encode()
        ).decode()
        name, credential = {
            "support": ("authorization", f"Basic {basic}"),
            "orders": ("authorization", f"Bearer {self.stage.secrets['orders']}"),
            "regions": ("x-api-key", self.stage.secrets["calls"]),
        }[bundle]
        self.assertEqual([value for field, value in pairs if field == name], [credential])
        self.assertFalse([field for field in held if field.startswith(("x-zis", "proxy-"))])
        self.assertNotIn(self.stage.token, str(pairs))

    def test_every_action_of_the_bundles_is_judged(self):
        judged = {action.rpartition(":")[2] for _, action, *_ in (*ARRIVES, *NOT_SENT)}
        for file in BUNDLES.glob("*.json"):
            for action in json.loads(file.read_text())["resources"]:
                self.assertIn(action, judged)

    def test_what_has_no_request_fails_and_nothing_is_sent(self):
        for bundle, action, inputs, told in NOT_SENT:
            with self.subTest(action=action, inputs=inputs):
                done = self.stage.flow(BUNDLES / f"{bundle}.json", action, inputs)
                self.judge_failure(done, told)
                self.assertEqual(list(self.stage.received()), [])

    def test_an_unknown_connection_is_told_as_the_service_tells_it(self):
        done = self.action(url=f"https://{API}/", connectionName="missing")
        told = 'Cannot start flow because the connection named "missing" does not exist\n'
        self.judge_failure(done, told)

    def test_an_action_can_not_say_where_it_goes_or_break_a_header(self):
        url = f"https://{API}/"
        for name in ("Host", "X-Zis-Connection", "x-zis-host", "Proxy-Authorization", "TE"):
            headers = [{"key": name, "value": "x"}]
            self.judge_failure(self.action(url=url, headers=headers), "may not set the header")
        for name, value in (("X-A", "a\r\nX-B: b"), ("X A", "a"), ("", "a"), ("X\n", "a")):
            done = self.action(url=url, headers={name: value})
            self.judge_failure(done, "that HTTP does not allow")
        for definition, told in (
            ({"path": "/a"}, "either a url or a path"),
            ({"requestBody": {}}, "a GET has none"),
            ({"method": "BREW"}, "method must be one of"),
            ({"method": "TRACE"}, "(MethodNotAllowed)"),
            ({"connectionName": "a\r\nb"}, "can't be a connection"),
            ({"url.$": "$.a"}, "given twice"),
            ({"headers": [{"key": "a"}]}, "must have a key and a value"),
            ({"headers": {"X-A": self.stage.token}}, "(MalformedRequest)"),
        ):
            self.judge_failure(self.action(**{"url": url} | definition), told)
        self.assertEqual(list(self.stage.received()), [])

    def test_what_comes_out_is_the_body(self):
        for path, result in (
            ("text", {"__httpresponse": "blød"}),
            ("nothing", {"__httpresponse": ""}),
            ("problem", {"a": [1, "ø"]}),
            ("broken", {"__httpresponse": '{"a":'}),
            (f"size/{2 << 20}", "x" * ((2 << 20) - 2)),
        ):
            with self.subTest(path=path):
                done = self.action(url=f"https://{RUDE}/{path}", connectionName="rude")
                self.judge_output(done)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
                self.assertEqual(json.loads(done.stdout), result)

    def test_failures_are_worded_as_the_service_words_them(self):
        status = "external action failed due to status code: "
        for path, told, options in (
            ("status/404", f"{status}404\n", ()),
            ("status/302", f"{status}302\n", ()),
            ("status/500", f"{status}500\n", ()),
            (f"size/{(2 << 20) + 1}", "payload is larger than 2mb\n", ()),
            ("slow", "external action timed out after 1 s\n", ("--timeout", "1")),
            ("drip", "external action timed out after 1 s\n", ("--timeout", "1")),
            # A failure of the origin's own, which says that it is the proxy's, stays the origin's.
            ("own", f"{status}502\n", ()),
        ):
            with self.subTest(path=path):
                url = f"https://{RUDE}/{path}"
                start = time.monotonic()
                done = self.action(url=url, connectionName="rude", options=options)
                # The slow answers are whole after six seconds.
                self.assertLess(time.monotonic() - start, 5)
                self.judge_failure(done, told)
                self.assertNotIn("hidden", done.stderr)
        # A redirect was not followed.
        self.assertNotIn("/next", Rude.seen)

    def test_without_an_option_the_timeout_is_ten_seconds(self):
        usage = self.stage.call([sys.executable, "-c", (
            f"import sys; sys.path.insert(0, {str(EXAMPLES / 'flow')!r}); import flow;"
            "print(flow.arguments().parse_args(['a', 'b']).timeout)"
        )])
        self.assertEqual(usage.stdout, "10.0\n", usage.stderr)

    def test_wrong_usage_is_2_and_repeats_no_token(self):
        for arguments in (
            [], ["--token", self.stage.token], ["--proxy", f"http://u:{self.stage.token}@h"],
            ["--proxy", "ftp://h"], ["--timeout", "soon"], ["--subdomain", "a.evil.example/"],
        ):
            program = [sys.executable, EXAMPLES / "flow/flow.py"]
            done = self.stage.call([*program, *(arguments and ["a", "b"]), *arguments])
            self.judge_output(done)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([*program, "a", "b"], env=environment, capture_output=True, text=True)
        self.assertEqual(done.returncode, 2)
        self.assertIn("KEYFERRY_TOKEN", done.stderr)

    def test_a_token_comes_from_a_file_too_and_a_bad_one_is_not_shown(self):
        url = f"https://{API}/"
        self.judge_output(done := self.action(url=url, options=("--token-file", "token")))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(len(list(self.stage.received())), 1)
        (self.stage.directory / "other").write_text("kf_" + "A" * 43 + "\n")
        done = self.action(url=url, options=("--token-file", "other"))
        self.judge_failure(done, "(CallerUnknown)")
        (self.stage.directory / "other").write_text("open sesame")
        done = self.action(url=url, options=("--token-file", "other"))
        self.judge_failure(done, "not a caller token")
        self.assertNotIn("sesame", done.stderr)
        done = self.action(url=url, options=("--proxy", "http://127.0.0.1:1"))
        self.judge_failure(done, "can't be reached")


class Runners(Case):
    def judge_runner(self, run):
        """`run` takes a connection and a URL."""
        done = run("orders", f"https://{API}/v1/orders?a=b")
        self.judge_output(done)
        self.assertEqual((done.returncode, done.stderr), (0, "answered by the API: 200\n"))
        [(line, fields, _)] = self.stage.received()
        self.assertEqual(json.loads(done.stdout), {"received": self.stage.judged})
        self.assertEqual(line, "GET /v1/orders?a=b")
        credential = ("authorization", f"Bearer {self.stage.secrets['orders']}")
        self.assertIn(credential, fields)
        for connection, url, code, told in (
            ("rude", f"https://{RUDE}/status/403", 1, "answered by the API: 403\n"),
            ("rude", f"https://{RUDE}/status/302", 1, "answered by the API: 302\n"),
            ("rude", f"https://{RUDE}/own", 1, "answered by the API: 502\n"),
            ("orders", "https://evil.example.test/", 3, "refused by Keyferry: DomainNotAllowed: "),
            ("missing", f"https://{API}/", 3, "refused by Keyferry: ConnectionNotFound: "),
            ("orders", "http://api.example.test/", 2, "usage: "),
        ):
            with self.subTest(connection=connection, url=url):
                done = run(connection, url)
                self.judge_output(done)
                self.assertEqual(done.returncode, code, done.stderr)
                self.assertTrue(done.stderr.startswith(told), done.stderr)
        done = run("orders", f"https://{API}/", token="kf_" + "A" * 43)
        self.assertTrue(done.stderr.startswith("refused by Keyferry: CallerUnknown: "), done.stderr)
        self.assertEqual((done.returncode, done.stdout), (3, ""))
        self.assertEqual(list(self.stage.received()), [])

    def test_the_runner_in_python(self):
        program = EXAMPLES / "runners/runner.py"
        self.judge_runner(
            lambda *given, **options: self.stage.call([sys.executable, program, *given], **options)
        )

    def test_the_runner_in_typescript_is_typed_strictly(self):
        modules = Path(__file__).resolve().parent / "node_modules"
        check = [
            "node", modules / "typescript/bin/tsc", "--noEmit", "--strict", "--target", "es2022",
            "--module", "es2022", "--moduleResolution", "bundler", "--types", "node",
            "--typeRoots", modules / "@types", EXAMPLES / "runners/runner.ts",
        ]
        done = subprocess.run(check, stdout=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_runner_in_typescript(self):
        program = EXAMPLES / "runners/runner.ts"
        try:
            asked = self.stage.call(["node", "--experimental-strip-types", "-e", ""])
        except FileNotFoundError:
            self.skipTest("there is no node")
        script = {"stdin": program.read_text()}
        plain = ["node", "--input-type=module", "-"]
        # Every Node runs it as the JavaScript that it also is; a new one as TypeScript too.
        self.judge_runner(
            lambda *given, **options: self.stage.call([*plain, *given], **script, **options)
        )
        if asked.returncode == 0:
            typed = ["node", "--experimental-strip-types", program]
            self.judge_runner(
                lambda *given, **options: self.stage.call([*typed, *given], **options)
            )
        else:
            print("this node does not strip types: runner.ts was run as JavaScript")


PROGRAMS = sys.argv[1]

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
