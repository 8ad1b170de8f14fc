"""Counts the instructions that the server spends on a request, by callgrind, and compares them
with those that are kept in `instructions.json`.

`instructions.py RELEASE DEBUG` counts what RELEASE/keyferry spends, beside DEBUG/origin;
it fails when a path costs more than 3 % over what is kept. With `--keep` as a third argument it
keeps what it has counted. Another compiler counts a little differently.
"""

import base64
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import h2.config
import h2.connection
import h2.events

from programs import Programs

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
KEPT = Path(__file__).with_name("instructions.json")
# More than this over what is kept is a failure.
TOLERANCE = 0.03
WARM_UP, REQUESTS = 100, 1000
HOST, HTTP2_HOST, SECRET = "api.example.test", "h2.example.test", "not-a-real-secret"
BODY = json.dumps({"items": ["x" * 60] * 15}).encode()
CONFIG = """
[proxy]
listen = ["127.0.0.1:0"]
[api]
listen = "127.0.0.1:0"
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[upstream.resolve]
"{host}:443" = "{origin}"
"{http2_host}:443" = "{http2_origin}"
[[connections]]
integration = "demo"
type = "bearer_token"
name = "static"
allowed_domain = "{host}"
token = {{ file = "secret" }}
[[connections]]
integration = "demo"
type = "bearer_token"
name = "http2"
allowed_domain = "{http2_host}"
token = {{ file = "secret" }}
[[tokens]]
name = "runner"
integration = "demo"
scopes = ["proxy"]
token = {{ file = "token" }}
"""


class Origin:
    """Answers every request over TLS, and POSTs as a token endpoint does."""

    def __init__(self, certificate, key):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self.accept, daemon=True).start()

    @property
    def address(self):
        return "127.0.0.1:%d" % self.listener.getsockname()[1]

    def accept(self):
        while True:
            conn, _peer = self.listener.accept()
            threading.Thread(target=self.serve, args=(conn,), daemon=True).start()

    def serve(self, conn):
        with self.context.wrap_socket(conn, server_side=True) as conn, conn.makefile("rb") as lines:
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while head := read_head(lines):
                lines.read(int(head.get("content-length", 0)))
                body = BODY
                if head[""].startswith("POST"):
                    body = b'{"access_token":"ACCESS","token_type":"bearer","expires_in":86400}'
                conn.sendall(
                    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                    b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
                )


def total(dump):
    """What callgrind has counted on one thread."""
    with dump.open() as lines:
        return next((int(line.split()[1]) for line in lines if line.startswith("totals:")), 0)


def read_head(lines):
    """The fields of a message by their lower-case names; its first line by the name ""."""
    head = {"": lines.readline().decode().strip()}
    while line := lines.readline().decode().strip():
        name, _, value = line.partition(":")
        head[name.lower()] = value.strip()
    return head if head[""] else None


class Http1:
    """A caller on one conn of HTTP/1.1."""

    def __init__(self, conn, request, status):
        self.conn, self.request, self.status = conn, request, status
        self.lines = conn.makefile("rb")

    def send(self):
        self.conn.sendall(self.request)
        head = read_head(self.lines)
        assert head and int(head[""].split()[1]) == self.status, head
        self.lines.read(int(head["content-length"]))


class Http2:
    """A caller on one conn of HTTP/2."""

    def __init__(self, conn, fields):
        self.conn, self.fields = conn, fields
        self.state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.state.initiate_connection()

    def send(self):
        stream = self.state.get_next_available_stream_id()
        self.state.send_headers(stream, self.fields, end_stream=True)
        while True:
            self.conn.sendall(self.state.data_to_send())
            for event in self.state.receive_data(self.conn.recv(65536)):
                if isinstance(event, h2.events.ResponseReceived):
                    assert dict(event.headers)[b":status"] == b"200", event.headers
                elif isinstance(event, h2.events.DataReceived):
                    length = event.flow_controlled_length
                    self.state.acknowledge_received_data(length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    return


class Server(Programs):
    """The server below callgrind, and the callers of the six paths."""

    def __init__(self, build, origins, directory):
        super().__init__(build, directory)
        self.token = self.run("keyferry", "token", "generate")
        for name, secret in (("secret", SECRET), ("token", self.token)):
            (self.directory / name).touch(0o600)
            (self.directory / name).write_text(secret)
        names = ("origin", HOST, HTTP2_HOST)
        program = Path(origins).resolve() / "origin"
        http2_origin = self.start([program, *names], r"address (\S+)\nca ")[1]
        origin = Origin(self.directory / "origin/leaf.pem", self.directory / "origin/leaf.key")
        (self.directory / "k.toml").write_text(CONFIG.format(
            host=HOST, http2_host=HTTP2_HOST, origin=origin.address, http2_origin=http2_origin,
        ))
        serve = ["keyferry", "serve", "--config", "k.toml", "--data-dir", "data"]
        program, *arguments = serve
        said = self.start(
            [
                # A worker for each core: one, so that what a worker keeps is there at once.
                "/usr/bin/taskset", "-c", "0",
                "/usr/bin/valgrind", "--tool=callgrind", "--separate-threads=yes",
                "--callgrind-out-file=counted",
                self.build / program, *arguments,
            ],
            r"proxy +http://(\S+)[\s\S]*?API +(http://\S+)",
        )
        self.proxy, self.api = said[1].split(":"), said[2]
        self.dumps = 0
        self.authorize()

    def authorize(self):
        """Makes a connection by OAuth, whose provider asks nobody."""
        common = [
            "--url", self.api, "--data-dir", "data", "--integration", "demo",
        ]
        self.run(
            "keyferry", "client", "create", "--name", "provider", "--client-id", "me",
            "--grant-type", "client_credentials", "--auth-url", f"https://{HOST}/authorize",
            "--token-url", f"https://{HOST}/token", "--secret-file", "secret", *common,
        )
        self.run(
            "keyferry", "connection", "create", "--type", "oauth", "--client", "provider",
            "--name", "oauth", "--allowed-domain", HOST, *common,
        )

    def conn(self):
        conn = socket.create_connection(self.proxy)
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return conn

    def absolute(self, connection, more="", status=200):
        request = (
            f"GET http{'s' if status == 200 else ''}://{HOST}/v1/items?page=2 HTTP/1.1\r\n"
            f"Host: {HOST}\r\nUser-Agent: instructions\r\nAccept: application/json\r\n"
            f"Proxy-Authorization: Bearer {self.token}\r\nX-Zis-Connection: {connection}\r\n{more}\r\n"
        )
        return Http1(self.conn(), request.encode(), status)

    def tunnel(self):
        user = base64.b64encode(f"demo.static:{self.token}".encode()).decode()
        conn = self.conn()
        conn.sendall(
            f"CONNECT {HOST}:443 HTTP/1.1\r\nHost: {HOST}:443\r\n"
            f"Proxy-Authorization: Basic {user}\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += conn.recv(1)
        assert b" 200 " in head.splitlines()[0], head
        trust = ssl.create_default_context(cafile=self.directory / "data/ca/cert.pem")
        request = (
            f"GET /v1/items?page=2 HTTP/1.1\r\nHost: {HOST}\r\nUser-Agent: instructions\r\n"
            "Accept: application/json\r\n\r\n"
        )
        return Http1(trust.wrap_socket(conn, server_hostname=HOST), request.encode(), 200)

    def http2(self):
        return Http2(self.conn(), [
            (":method", "GET"), (":scheme", "https"), (":authority", HTTP2_HOST),
            (":path", "/v1/items?page=2"), ("user-agent", "instructions"),
            ("accept", "application/json"), ("proxy-authorization", f"Bearer {self.token}"),
            ("x-zis-connection", "http2"),
        ])

    def count(self, send):
        """The instructions that a worker spends on one request."""
        for _ in range(WARM_UP):
            send()
        self.control("--zero")
        for _ in range(REQUESTS):
            send()
        self.control("--dump")
        self.dumps += 1
        # The worker's: what the log, the audit trail and the store's follower cost has its own
        # times, and is not the same from one run to the next.
        threads = self.directory.glob(f"counted.{self.dumps}-*")
        return round(max(map(total, threads)) / REQUESTS)

    def control(self, action):
        command = ["callgrind_control", action, str(self.children[-1].pid)]
        subprocess.run(command, check=True, timeout=60, **QUIET)

    def paths(self):
        def new_conn():
            caller = self.absolute("static", "Connection: close\r\n")
            caller.send()
            caller.conn.close()

        yield "static secret over HTTP/1.1", self.absolute("static").send
        yield "OAuth over HTTP/1.1", self.absolute("oauth").send
        yield "tunnel", self.tunnel().send
        yield "HTTP/2 on both sides", self.http2().send
        yield "refusal", self.absolute("static", status=403).send
        yield "new conn", new_conn


def main():
    keep = "--keep" in sys.argv
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    counted, worse = {}, []
    with tempfile.TemporaryDirectory() as directory:
        server = Server(*sys.argv[1:3], directory)
        try:
            for name, send in server.paths():
                counted[name] = server.count(send)
                change = counted[name] / kept[name] - 1 if name in kept else 0
                print(f"{name:30} {counted[name]:>9,} instructions a request {change:+8.1%}", flush=True)
                if name not in kept or change > TOLERANCE:
                    worse.append(name)
        finally:
            server.stop()
    if keep:
        KEPT.write_text(json.dumps(counted, indent=2) + "\n")
    elif worse:
        sys.exit(
            f"these cost more than {TOLERANCE:.0%} over {KEPT.name}: {', '.join(worse)}. "
            "Make them cheaper, or say in the commit why they may cost that, and keep the new "
            "figures with --keep"
        )


if __name__ == "__main__":
    main()
