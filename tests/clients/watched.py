"""A server that has something of everything that it counts, for monitoring.py."""

import http.client
import http.server
import json
import re
import socket
import subprocess
from urllib.parse import parse_qs, urlsplit

import origins
from programs import Programs

API, PROVIDER = "api.example.test", "provider.example.test"
INTEGRATION, CLIENT, GRANT = "shop", "provider", "granted"
# Connections to an origin whose certificate is for another name, and to the server itself.
STRANGER, PROHIBITED = "stranger", "prohibited"
OAUTH = "/api/services/zis/connections/oauth"
ENDS = "http://127.0.0.1/done"
DAY = 24 * 60 * 60
CONFIG = f"""
[proxy]
listen = ["127.0.0.1:0"]
allowed_ports = [443, {{origin}}]
[api]
listen = "127.0.0.1:{{api}}"
public_url = "http://127.0.0.1:{{api}}"
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[upstream.resolve]
"{API}:443" = "127.0.0.1:{{origin}}"
"{PROVIDER}:{{origin}}" = "127.0.0.1:{{origin}}"
"{STRANGER}.example.test:443" = "127.0.0.1:{{origin}}"
"{PROHIBITED}.example.test:443" = "127.0.0.1:{{api}}"
[[connections]]
integration = "{INTEGRATION}"
type = "bearer_token"
name = "orders"
allowed_domain = "{API}"
expires_on = "2099-12-31"
client_certificate = {{{{ file = "origin/leaf.pem" }}}}
client_key = {{{{ file = "origin/leaf.key" }}}}
token = {{{{ file = "orders" }}}}
[[connections]]
integration = "{INTEGRATION}"
type = "bearer_token"
name = "{STRANGER}"
allowed_domain = "{STRANGER}.example.test"
token = {{{{ file = "orders" }}}}
[[connections]]
integration = "{INTEGRATION}"
type = "bearer_token"
name = "{PROHIBITED}"
allowed_domain = "{PROHIBITED}.example.test"
token = {{{{ file = "orders" }}}}
"""


class Origin(http.server.BaseHTTPRequestHandler):
    """An origin that answers with the status that its path names, and repeats the credential; and
    a provider, which refuses a client once it was told to."""

    protocol_version = "HTTP/1.1"
    refuses = None

    def do_GET(self):
        status = re.fullmatch(r"/status/(\d{3})", self.path)
        self.answer(int(status[1]), {"shown": self.headers["Authorization"]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if Origin.refuses:
            self.answer(401, {"error": Origin.refuses})
            return
        self.answer(200, {
            "access_token": "the-access-token", "token_type": "Bearer", "expires_in": 3600,
            "refresh_token": "the-refresh-token", "refresh_token_expires_in": 30 * DAY,
        })

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Shown", str(content.get("shown")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Watched(Programs):
    """The origin and the server."""

    def set(self):
        # The program's origin gives the certificates.
        self.start(["origin", "origin", API, PROVIDER], r"address (\S+)\nca ")
        pem = [self.directory / f"origin/leaf.{kind}" for kind in ("pem", "key")]
        self.origin = origins.serve(*pem, Origin)
        self.api = free_port()
        (self.directory / "orders").write_text("THE-REAL-ONE")
        config = self.directory / "keyferry.toml"
        config.write_text(CONFIG.format(api=self.api, origin=self.origin))
        serve = ["keyferry", "serve", "--config", config, "--data-dir", "data"]
        self.proxy = urlsplit(self.start(serve, r"proxy +(http\S+)\n +API")[1]).port
        scopes = (part for scope in ("read", "write", "proxy") for part in ("--scope", scope))
        self.token = self.run(
            "keyferry", "token", "create", "--name", "operator", "--integration", INTEGRATION,
            *scopes, "--url", f"http://127.0.0.1:{self.api}", "--data-dir", "data",
            stderr=subprocess.DEVNULL,
        )

    def ask(self, port, method, path, fields=None, body=None):
        """Status, fields and body of an answer of the server."""
        conn = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            conn.request(method, path, body, fields or {})
            answer = conn.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read().decode()
        finally:
            conn.close()

    def send(self, connection, path="/status/200", token=None):
        """A program's request by the base URL of a connection: its status."""
        shown = {"Authorization": f"Bearer {token or self.token}"}
        return self.ask(self.proxy, "GET", f"/~/{connection}{path}", shown)[0]

    def manage(self, method, path, body=None):
        """What the API answers an operator."""
        fields = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        text = None if body is None else json.dumps(body)
        status, _fields, text = self.ask(self.api, method, f"{OAUTH}/{path}", fields, text)
        assert status in (200, 201), text
        return json.loads(text)

    def authorize(self):
        """Makes an OAuth connection by a flow, as a browser goes through it."""
        provider = f"https://{PROVIDER}:{self.origin}"
        self.manage("POST", f"clients/{INTEGRATION}", {
            "name": CLIENT, "client_id": "id", "client_secret": "secret", "default_scopes": "api",
            "grant_type": "authorization_code", "auth_url": f"{provider}/auth",
            "token_url": f"{provider}/token",
        })
        started = self.manage("POST", f"start/{INTEGRATION}", {
            "name": GRANT, "oauth_client_name": CLIENT, "allowed_domain": API,
            "origin_oauth_redirect_url": ENDS,
        })
        url = urlsplit(started["redirect_url"])
        status, fields, text = self.ask(self.api, "GET", f"{url.path}?{url.query}")
        assert status == 307, text
        [state] = parse_qs(urlsplit(fields["location"]).query)["state"]
        cookie = {"Cookie": fields["set-cookie"].partition(";")[0]}
        path = f"{OAUTH}/callback?code=a-code&state={state}"
        status, fields, text = self.ask(self.api, "GET", path, cookie)
        assert status == 303 and "verification_code" in fields["location"], (fields, text)

    def refresh(self):
        """Has the server refresh the OAuth connection's tokens, which the provider may refuse."""
        fields = {"Authorization": f"Bearer {self.token}"}
        path = f"/api/services/zis/connections/refresh/{INTEGRATION}?name={GRANT}"
        return self.ask(self.api, "GET", path, fields)[0]

    def metrics(self):
        status, _fields, text = self.ask(self.api, "GET", "/metrics")
        assert status == 200, text
        return text


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
