"""Drives the console with a browser, as somebody who runs Keyferry does: every page, narrow and
wide, light and dark, with a real provider and a real origin behind it.

`console.py PROGRAMS` starts the origin, the provider and the server out of the directory PROGRAMS,
and leaves pictures of each page in `PROGRAMS/../console`.
"""

import http.server
import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import origins
from oauth import CHROMIUM, CLIENT, NODE, PROVIDER, Stage

AILING = "ailing.example.test"
# The requests that a caller may send in a minute.
RATE = 60
# Connections whose requests fail: of each, the words that name the cause, and who must act.
CAUSES = {
    "rejected": ("401: the API refuses the key", "the operator"),
    "miscertified": ("CertificateInvalid: the API's certificate is not valid", "the operator"),
    "hidden": ("AddressProhibited: the API's address is not public", "the operator"),
    "ungranted": ("ConnectionForbidden: the token may not use it", "the operator"),
    "down": ("TokenEndpointFailed: the provider does not answer", "nobody"),
    "dead": ("needs reauthorization", "a user with an account at the provider"),
    "limited": ("429: the API limits the rate", "the caller"),
}
# Connections whose callers ask for what is not allowed: of each, the words that name the cause.
REFUSED = {
    "astray": "DomainNotAllowed: the host is not in its allowed domain",
    "hurried": "RateLimited: the token's rate is used up",
}

HERE = Path(__file__).resolve().parent
SHOTS = Path(sys.argv[1]).resolve().parent / "console"


class Ailing(http.server.BaseHTTPRequestHandler):
    """An API that limits the rate, and a provider that gives tokens once: then the grants of one of
    its clients are dead, and for the other it is down."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/authorize":
            return self.answer(429, {"error": "slow down"}, {"Retry-After": "60"})
        asked = parse_qs(url.query)
        back = urlencode({"code": "a-code", "state": asked["state"][0]})
        return self.answer(302, {}, {"Location": f"{asked['redirect_uri'][0]}?{back}"})

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"] or 0)).decode())
        if self.path != "/token":
            return self.do_GET()
        if form["grant_type"] == ["authorization_code"]:
            tokens = {
                "access_token": "an-access-token", "refresh_token": "a-refresh-token",
                "token_type": "bearer", "expires_in": 1,
            }
            return self.answer(200, tokens, {})
        if form["client_id"] == ["id of:dead"]:
            return self.answer(400, {"error": "invalid_grant"}, {})
        return self.answer(503, {"error": "out of service"}, {})

    def answer(self, status, content, fields):
        body = json.dumps(content).encode()
        self.send_response(status)
        fields |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Failing(Stage):
    """The stage, with names behind which requests fail: one whose certificate is another's, one
    that is an address of a private network, and an API and a provider that ail; and with a limit of
    the requests that a caller may send."""

    names = [*Stage.names, AILING]

    def set_forge(self):
        super().set_forge()
        leaf = [self.directory / "origin/leaf.pem", self.directory / "origin/leaf.key"]
        self.ailing = f"127.0.0.1:{origins.serve(*leaf, Ailing)}"
        self.pinned = {
            "wrong.test": self.origin, "hidden.example.test": "10.0.0.7:443", AILING: self.ailing,
        }

    def edit(self, text):
        return text.replace("[proxy]\n", f"[proxy]\nrequests_per_minute = {RATE}\n", 1)


class Console(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.stage = Failing(sys.argv[1], directory.name)
        cls.addClassCleanup(cls.stage.end)
        cls.stage.set()

    def test_somebody_runs_keyferry_in_a_browser(self):
        stage = self.stage
        token = (stage.directory / "keyferry-data/admin.token").read_text().strip()
        rules = [
            f"MAP {CLIENT} {stage.origin}", f"MAP {PROVIDER} 127.0.0.1",
            f"MAP {AILING} {stage.ailing}", "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1",
        ]
        plan = {
            "url": stage.url, "proxy": stage.proxy, "token": token, "runner": stage.token,
            "issuer": stage.issuer, "password": stage.passwords["my_oauth_client_name"],
            "machine": stage.passwords["machine"], "ailing": AILING, "rate": RATE,
            "causes": CAUSES, "refused": REFUSED,
            "chromium": CHROMIUM, "rules": ",".join(rules), "shots": str(SHOTS),
            "axe": str(HERE / "node_modules/axe-core/axe.min.js"),
        }
        done = subprocess.run(
            [NODE, HERE / "console/drive.mjs", json.dumps(plan)], env=stage.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        weights = json.loads(done.stdout)["weights"]
        heaviest = max(weights, key=weights.get)
        print(f"\nthe heaviest page: {heaviest}, {weights[heaviest]} bytes; pictures: {SHOTS}")
        self.assertLess(weights[heaviest], 150 << 10)
        self.find_causes()

    def find_causes(self):
        """Each cause that was found in the browser, and who must act, is found by one command."""
        where = ["--integration", "causes", "--url", self.stage.url, "--data-dir", "keyferry-data"]
        for name, (cause, actor) in CAUSES.items():
            with self.subTest(name):
                shown = self.stage.run("keyferry", "connection", "show", name, *where)
                health, who = (line(shown, row) for row in ("health", "who must act"))
                self.assertTrue(health.endswith(cause), shown)
                self.assertEqual(who, actor, shown)
                self.assertTrue(line(shown, "what to do") and line(shown, "last failure"), shown)
        for name, cause in REFUSED.items():
            with self.subTest(name):
                shown = self.stage.run("keyferry", "connection", "show", name, *where)
                self.assertTrue(line(shown, "refused").endswith(cause), shown)
                self.assertTrue(line(shown, "last refusal"), shown)
                self.assertFalse(line(shown, "who must act"), shown)
        command = [self.stage.build / "keyferry", "connection", "list", *where]
        listed = subprocess.run(
            command, check=True, cwd=self.stage.directory, capture_output=True, text=True, timeout=60,
        )
        rows = {row.split()[0]: row for row in listed.stdout.splitlines()[1:]}
        for name, (cause, actor) in CAUSES.items():
            state = cause if name == "dead" else "failing"
            self.assertIn(f"  {state}  ", f"{rows[name]}  ")
            [noted] = [said for said in listed.stderr.splitlines() if f" {name}: " in said]
            verb = "need" if actor == "nobody" else "must"
            self.assertIn(f"{cause}; {actor} {verb} act: ", noted)


def line(record, name):
    """The value of a line of a record that a command has printed."""
    values = (text[len(name):] for text in record.splitlines() if text.startswith(f"{name}  "))
    return next(values, "").strip()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
