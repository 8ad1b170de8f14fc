"""Judges real clients: each one, unmodified, through the real program to a TLS origin.

`run.py PROGRAMS CLIENTS…` starts the origin and the proxy out of the directory PROGRAMS, runs
each client in a process and an environment of its own, and holds what the origin has received
against what should have been sent: every request that the client made has arrived with the right
credential, nothing else has arrived, and no credential was ever in the client's hands.
"""

import base64
import os
import re
import secrets
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from programs import Programs

HERE = Path(__file__).resolve().parent
PROGRAMS, CLIENTS = sys.argv[1], sys.argv[2:]
COMMANDS = {
    "curl": [sys.executable, HERE / "clients.py"],
    "requests": [sys.executable, HERE / "clients.py"],
    "httpx": [sys.executable, HERE / "clients.py"],
    "undici": ["node", HERE / "clients.mjs"],
    "axios": ["node", HERE / "clients.mjs"],
}
HOST = "api.example.test"
CONFIG = """
[proxy]
listen = ["127.0.0.1:0", "unix:{name}.sock"]
plain_http = "{plain_http}"
{tls}
[api]
listen = "127.0.0.1:0"
[store]
url = "memory:"
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[upstream.resolve]
"{host}:443" = "{origin}"
"evil.example.test:443" = "{origin}"
[[connections]]
integration = "demo"
type = "bearer_token"
name = "bearer"
allowed_domain = "{host}"
token = {{ file = "bearer" }}
[[connections]]
integration = "demo"
type = "api_key"
name = "key"
allowed_domain = "{host}"
header_name = "X-Api-Key"
api_key = {{ file = "key" }}
[[connections]]
integration = "demo"
type = "basic_auth"
name = "basic"
allowed_domain = "{host}"
username = "ferry"
password = {{ file = "basic" }}
[[tokens]]
name = "runner"
integration = "demo"
scopes = ["proxy"]
token = {{ file = "token" }}
"""


class Stage(Programs):
    """The origin and three proxies in a directory of their own."""

    judged = 0

    def set(self):
        self.secrets = {name: secrets.token_urlsafe(24) for name in ("bearer", "key", "basic")}
        self.token = self.run("keyferry", "token", "generate")
        for name, secret in (*self.secrets.items(), ("token", self.token)):
            (self.directory / name).touch(0o600)
            (self.directory / name).write_text(secret)
        said = self.start(["origin", "origin", HOST, "localhost"], r"address (\S+)\nca ")
        self.origin = said[1]
        tls = 'tls = { cert = "origin/leaf.pem", key = "origin/leaf.key" }'
        self.environment = {
            "STRICT": self.proxy("strict", "refuse"),
            "UPGRADE": self.proxy("upgrade", "upgrade"),
            "SECURE": self.proxy("secure", "upgrade", tls).replace("127.0.0.1", "localhost"),
            "SOCKET": str(self.directory / "strict.sock"),
            "CA": str(self.directory / "origin/ca.pem"),
            "NODE_EXTRA_CA_CERTS": str(self.directory / "origin/ca.pem"),
            "TOKEN": self.token,
            "PATH": os.environ["PATH"],
        }

    def proxy(self, name, plain_http, tls=""):
        text = CONFIG.format(
            name=name, plain_http=plain_http, tls=tls, host=HOST, origin=self.origin
        )
        (self.directory / f"{name}.toml").write_text(text)
        serve = ["keyferry", "serve", "--config", f"{name}.toml", "--data-dir", f"{name}-data"]
        return self.start(serve, r"proxy +(http\S+)")[1]

    def received(self):
        """What the origin has received since the last time."""
        while (file := self.directory / "origin" / str(self.judged + 1)).exists():
            self.judged += 1
            head, _, body = file.read_text().partition("\n\n")
            request, *fields = head.splitlines()
            yield request.split()[1], [tuple(field.split(": ", 1)) for field in fields], body

    def end(self):
        """Stops what was started; the proxies must have ended well and told no secret."""
        _origin, *proxies = self.stop()
        assert proxies == [0, 0, 0], proxies
        for file, said in self.said().items():
            assert not [s for s in (self.token, *self.secrets.values()) if s in said], file

    def expected(self, connection):
        """The field that a request of a connection arrives with."""
        secret = self.secrets[connection]
        basic = base64.b64encode(f"ferry:{secret}".encode()).decode()
        return {
            "bearer": ("authorization", f"Bearer {secret}"),
            "key": ("x-api-key", secret),
            "basic": ("authorization", f"Basic {basic}"),
        }[connection]


class Clients(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.stage = Stage(PROGRAMS, directory.name)
        cls.addClassCleanup(cls.stage.end)
        cls.stage.set()

    def judge(self, client):
        done = subprocess.run(
            [*COMMANDS[client], client],
            env=self.stage.environment, cwd=self.stage.directory,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        sent = set(re.findall(r"^sent (\S+)$", done.stdout, re.MULTILINE))
        refused = re.findall(r"^refused \S+ (\d+) (\w+)$", done.stdout, re.MULTILINE)
        arrived = set()
        for path, fields, body in self.stage.received():
            with self.subTest(path=path):
                self.judge_request(path, fields, body)
            arrived.add(path.removeprefix("/moved"))
        self.assertEqual(arrived, sent)
        self.assertGreaterEqual(len(sent), 15)
        self.assertEqual(len(refused), 4)
        for secret in self.stage.secrets.values():
            encoded = base64.b64encode(f"ferry:{secret}".encode()).decode()
            for place in (done.stdout, str(self.stage.environment)):
                self.assertNotIn(secret, place)
                self.assertNotIn(encoded, place)
        forms = {path.split("/")[2]: None for path in sorted(sent)}
        print(f"{client}: {len(sent)} requests with their credential ({', '.join(forms)});",
              f"{len(refused)} refused ({', '.join(' '.join(answer) for answer in refused)})")

    def judge_request(self, path, fields, body):
        *_, connection = path.split("/")
        self.assertEqual(body, path.removeprefix("/moved"))
        field, value = self.stage.expected(connection)
        self.assertEqual([v for n, v in fields if n == field], [value])
        others = {"authorization", "x-api-key"} - {field}
        self.assertFalse(others & {name for name, _ in fields}, fields)
        self.assertEqual([v for n, v in fields if n == "host"], [HOST])
        self.assertFalse([n for n, _ in fields if n.startswith(("proxy-", "x-zis"))], fields)
        self.assertNotIn(self.stage.token, str(fields))
        [via] = [v for n, v in fields if n == "via"]
        self.assertEqual(via.split()[0], "2" if "-h2/" in path else "1.1")


def claim(client):
    return lambda self: self.judge(client)


for name in COMMANDS:
    if not CLIENTS or name in CLIENTS:
        setattr(Clients, f"test_{name}", claim(name))

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0]], verbosity=2)
