"""Judges OAuth connections with clients of others: curl, as the reference calls it, a certified
provider, which ends a grant whose refresh token is shown twice, and a browser with its user.

`oauth.py PROGRAMS` starts the origin, the provider and the server out of the directory PROGRAMS.
"""

import base64
import http.server
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import origins
from programs import Programs

HERE = Path(__file__).resolve().parent
NODE, CHROMIUM = shutil.which("node"), shutil.which("chromium")
API, PROVIDER, CLIENT = "api.example.test", "foobar.example.test", "client.int"
# A forge: its Git repositories, and its REST API at another host, as GitHub has them.
GIT, REST = "forge.example.test", "api.forge.example.test"
ZIS = "/api/services/zis/connections"
CALLBACK = f"{ZIS}/oauth/callback"
CONFIG = """
[log]
level = "trace"
[proxy]
listen = ["127.0.0.1:0"]
allowed_ports = [443, {provider}]
[api]
listen = "127.0.0.1:{api}"
public_url = "http://127.0.0.1:{api}"
requests_per_minute = {rate}
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[upstream.resolve]
"{API}:443" = "{origin}"
"{PROVIDER}:{provider}" = "127.0.0.1:{provider}"
{pins}
[oauth]
allowed_redirect_origins = ["https://{CLIENT}"]
[zis]
account_id = 123456
"""

# People sign in at the console by a client of the same provider.
SIGN_IN = """
[oidc]
issuer = "{issuer}"
client_id = "id of:console"
client_secret = "{secret}"
scopes = ["openid", "email", "groups"]
[oidc.groups.operators]
scopes = ["admin"]
integrations = ["*"]
"""

# The commands of the reference as they stand there.
START = """curl https://{subdomain}.zendesk.com/api/services/zis/connections/oauth/start/{integration} \\
-H "Authorization: Bearer {access_token}" \\
-X POST \\
-H 'content-type: application/json' \\
-d '{
"allow_offline_access": true,
"grant_type": "authorization_code",
"name": "my_connection_name",
"oauth_client_name": "my_oauth_client_name",
"oauth_client_uuid": "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade",
"oauth_url_subdomain": "foobar",
"origin_oauth_redirect_url": "https://client.int/callback",
"permission_scopes": "read write"
}'"""
EXCHANGE = """curl https://{subdomain}.zendesk.com/api/services/zis/connections/oauth/access_codes/{integration}?verification_code={verification_code} \\
-H "Authorization: Bearer {access_token}" """
REFRESH = """curl https://{subdomain}.zendesk.com/api/services/zis/connections/refresh/{integration}?%s={%s} \\
-H "Authorization: Bearer {access_token}" """
SHOW = """curl https://{subdomain}.zendesk.com/api/services/zis/connections/{integration}?%s={%s} \\
-H "Authorization: Bearer {access_token}" """
TOKEN = """curl https://{subdomain}.zendesk.com/api/services/zis/connections/oauth/tokens/{integration} \\
-X POST \\
-H 'content-type: application/json' \\
-d '{
"client_id": "my_client_id",
"client_secret": "my_client_secret",
"code": "LgwEzL8CA3aRA35r5QYfRbjjMa3Iacsk1CvwcRsnM",
"grant_type": "authorization_code",
"redirect_uri": "https://client.int/callback",
"scope": "read write"
}'"""

# The provider's clients: how each shows its secret, its grants, how long its tokens live. None of
# their ids and secrets can travel as it is.
CODE = ["authorization_code", "refresh_token"]
CLIENTS = {
    "my_oauth_client_name": ("client_secret_post", CODE, 600),
    "short": ("client_secret_basic", CODE, 3),
    "machine": ("client_secret_basic", ["client_credentials"], 600),
}
# The client of the forge, which a test makes and deletes. Its tokens end between two commands.
FORGE = {"forge": ("client_secret_basic", CODE, 3)}

# The members of what is answered.
CONNECTION = {
    "access_token", "created_by", "integration", "name", "oauth_access_token_response_body",
    "oauth_client_uuid", "oauth_url_subdomain", "permission_scope", "refresh_token",
    "token_expiry", "token_type", "uuid", "zendesk_account_id",
}
ITEM = CONNECTION - {"integration", "oauth_client_uuid", "zendesk_account_id"}
EXCHANGED = CONNECTION - {"name", "oauth_client_uuid", "oauth_url_subdomain"}
EXCHANGED |= {"origin_oauth_redirect_url", "raw_callback_params"}
OAUTH_CLIENT = {
    "auth_url", "client_id", "client_secret", "created_at", "created_by", "default_scopes",
    "grant_type", "integration", "name", "token_endpoint_auth_method", "token_url", "updated_at",
    "uuid",
}


def error(status, code, detail):
    return {"errors": [{"code": code, "detail": detail, "status": str(status)}]}


class Invalid:
    """400 in the words of the reference, and then the member that it is about and why."""

    def __eq__(self, outcome):
        status, body = outcome
        first, *rest = body["errors"]
        [reason] = rest
        return (
            status == 400 and [first] == error(400, "1301", "Invalid request")["errors"]
            and set(reason) == set(first)
            and re.fullmatch(r"Invalid value for: .+\. Desc: .+", reason["detail"]) is not None
        )


INVALID = Invalid()
UNAUTHORIZED = (401, error(401, "1200", "Unauthorized"))
FORBIDDEN = (403, error(403, "1200", "Forbidden"))
MISSING = (404, error(404, "1302", "Not found"))


def console_client(secret, url):
    """The provider's client by which people sign in at the console at this URL."""
    more = {
        "redirect_uris": [f"{url}/console/sign-in/callback"], "scope": "openid email groups",
    }
    return {
        "id": "id of:console", "secret": secret, "method": "client_secret_basic",
        "grants": ["authorization_code"], "lifetime": 600, "more": more,
    }


class Answer:
    """What curl has printed: a head and a body."""

    def __init__(self, said):
        head, _, self.text = said.partition("\r\n\r\n")
        line, *fields = head.split("\r\n")
        self.status = int(line.split()[1])
        self.fields = {name.lower(): value for name, value in (f.split(": ", 1) for f in fields)}

    @property
    def json(self):
        return json.loads(self.text)

    @property
    def methods(self):
        return {method.strip() for method in self.fields["allow"].split(",")}

    @property
    def outcome(self):
        return self.status, self.json


class Stage(Programs):
    """The origin, the provider and the server."""

    # Where the browser finds further names.
    rules = ()
    # Where the server finds further names.
    pinned = {}
    # The names that certificates have.
    names = [API, PROVIDER, CLIENT, GIT, REST]

    def set(self):
        self.origin = self.start(["origin", "origin", *self.names], r"address (\S+)\nca ")[1]
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        clients = CLIENTS | FORGE
        self.passwords = {name: f"a b+%:&/{secrets.token_urlsafe(24)}" for name in clients}
        self.secrets, self.revoked = {*self.passwords.values()}, 0
        registered = [
            {"id": f"id of:{name}", "secret": self.passwords[name], "method": method,
             "grants": grants, "lifetime": lifetime}
            for name, (method, grants, lifetime) in clients.items()
        ]
        self.passwords["console"] = f"a b+%:&/{secrets.token_urlsafe(24)}"
        self.secrets.add(self.passwords["console"])
        registered.append(console_client(self.passwords["console"], self.url))
        config = {"host": PROVIDER, "callback": self.url + CALLBACK, "clients": registered}
        (self.directory / "provider.json").write_text(json.dumps(config))
        self.events = self.directory / f"{len(self.children)}.out"
        files = ["provider.json", "origin/leaf.pem", "origin/leaf.key"]
        provider = [NODE, HERE / "oauth/provider.mjs", *files]
        self.issuer = self.start(provider, r"issuer (https\S+)\n")[1]
        self.set_forge()
        self.proxy = self.serve("keyferry", port, 0)
        self.token = self.make_token("test_user", ["read", "write", "proxy"])
        self.reader = self.make_token("reader", ["read"])
        self.trust()

    def set_forge(self):
        """Starts the servers of the forge: each shows what it was shown to whatever `judge_forge`
        is then, which admits nobody at first."""
        self.judge_forge = lambda _host, _shown: False
        leaf = [self.directory / "origin/leaf.pem", self.directory / "origin/leaf.key"]

        def admits(host):
            return lambda shown: self.judge_forge(host, shown)

        def content(path, _query):
            if path != "/repos/acme/site":
                return None
            return json.dumps({"full_name": "acme/site"}).encode(), {"Content-Type": "application/json"}

        self.repositories = self.directory / "repositories"
        self.forge = {
            GIT: origins.git(*leaf, admits(GIT), self.repositories),
            REST: origins.files(*leaf, admits(REST), content),
        }

    def serve(self, name, port, rate):
        """Starts a server; gives where its proxy is."""
        pinned = {host: f"127.0.0.1:{port}" for host, port in self.forge.items()} | self.pinned
        pins = (f'"{host}:443" = "{address}"' for host, address in pinned.items())
        text = CONFIG.format(
            pins="\n".join(pins), api=port, rate=rate, origin=self.origin, provider=urlsplit(self.issuer).port,
            API=API, PROVIDER=PROVIDER, CLIENT=CLIENT,
        )
        text += SIGN_IN.format(issuer=self.issuer, secret=self.passwords["console"])
        (self.directory / f"{name}.toml").write_text(self.edit(text))
        serve = ["keyferry", "serve", "--config", f"{name}.toml", "--data-dir", f"{name}-data"]
        return self.start(serve, r"proxy +(http\S+)\n +API")[1]

    def edit(self, text):
        """The configuration, as it is wanted."""
        return text

    def make_token(self, name, scopes, integration="my_integration"):
        scopes = (part for scope in scopes for part in ("--scope", scope))
        return self.run(
            "keyferry", "token", "create", "--name", name, "--integration", integration, *scopes,
            "--url", self.url, "--data-dir", "keyferry-data", stderr=subprocess.DEVNULL,
        )

    def trust(self):
        """Has the browser trust the origin's authority, and curl print heads."""
        nss = self.directory / ".pki/nssdb"
        nss.mkdir(parents=True)
        ca = self.directory / "origin/ca.pem"
        for command in (
            ["certutil", "-d", f"sql:{nss}", "-N", "--empty-password"],
            ["certutil", "-d", f"sql:{nss}", "-A", "-t", "C,,", "-n", "origin", "-i", ca],
        ):
            subprocess.run(command, check=True)
        (self.directory / ".curlrc").write_text("include\nsilent\nshow-error\n")

    def environment(self):
        return {"PATH": os.environ["PATH"], "HOME": str(self.directory)}

    def events_of(self, kind):
        """How often the provider has said so."""
        return len(re.findall(f"^event {kind}", self.events.read_text(), re.MULTILINE))

    def end(self):
        """Stops what was started. The servers must have ended well and told no secret, and the
        provider must have ended no grant but those that a test has had it end."""
        _origin, _provider, *servers = self.stop()
        assert set(servers) == {0}, servers
        assert self.events_of("revoked") == self.revoked, self.events.read_text()
        assert not self.events_of("broken"), self.events.read_text()
        files = [*self.directory.glob("*-data/**/*"), *self.said()]
        for file in files:
            if file.is_file() and file != self.events:
                content = file.read_bytes()
                assert not [text for text in self.secrets if text.encode() in content], file


class Done(http.server.BaseHTTPRequestHandler):
    """Where a flow may end: a page on loopback."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"done")

    def log_message(self, *_):
        pass


class OAuth(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.stage = Stage(PROGRAMS, directory.name)
        cls.addClassCleanup(cls.stage.end)
        cls.stage.set()
        cls.registered = {name: cls.register(name) for name in CLIENTS}

    @classmethod
    def register(cls, name, **members):
        """Makes a client, with these members too; gives it as the answer shows it."""
        method, grants, _lifetime = (CLIENTS | FORGE)[name]
        issuer = cls.stage.issuer
        if name == "my_oauth_client_name":
            issuer = issuer.replace("foobar", "{subdomain}")
        body = {
            "name": name, "client_id": f"id of:{name}", "client_secret": cls.stage.passwords[name],
            "token_url": f"{issuer}/token", "default_scopes": "api", "grant_type": grants[0],
            "token_endpoint_auth_method": method, **members,
        }
        if grants == CODE:
            body["auth_url"] = f"{issuer}/auth?prompt=consent"
            body["default_scopes"] = "openid offline_access api"
        answer = cls.ask("POST", "/oauth/clients/my_integration", body)
        assert answer.status == 201, answer.text
        return answer.json

    # What is asked, and how.

    @classmethod
    def curl(cls, *arguments):
        command = ["curl", "-gisS", "--max-time", "20", *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=30)
        return Answer(done.stdout.decode())

    @classmethod
    def ask(cls, method, path, body=None, token=None):
        """Asks the API with a token; with none where it is empty."""
        token = cls.stage.token if token is None else token
        arguments = ["-X", method, f"{cls.stage.url}{ZIS}{path}"]
        arguments += ["-H", f"Authorization: Bearer {token}"] if token else []
        if body is not None:
            arguments += ["-H", "content-type: application/json", "-d", json.dumps(body)]
        return cls.curl(*arguments)

    def reference(self, command, **values):
        """Has a shell run a command of the reference: nothing but what stands for something of
        one's own is replaced."""
        known = {
            "https://{subdomain}.zendesk.com": self.stage.url,
            "{integration}": "my_integration",
            "{access_token}": self.stage.token,
            "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade": self.registered["my_oauth_client_name"]["uuid"],
            **{f"{{{name}}}": value for name, value in values.items()},
        }
        for name, value in known.items():
            command = command.replace(name, value)
        done = subprocess.run(
            ["sh", "-c", command], env=self.stage.environment(), check=True,
            stdout=subprocess.PIPE, timeout=30,
        )
        return Answer(done.stdout.decode())

    def browse(self, url, says="yes", ends="", halts=""):
        """What somebody sees who goes there with a browser of their own."""
        rules = [
            f"MAP {CLIENT} {self.stage.origin}", f"MAP {PROVIDER} 127.0.0.1", *self.stage.rules,
            "MAP * ~NOTFOUND", "EXCLUDE 127.0.0.1",
        ]
        asked = {
            "url": url, "chromium": CHROMIUM, "rules": ",".join(rules), "says": says,
            "ends": ends, "halts": halts,
        }
        done = subprocess.run(
            [NODE, HERE / "oauth/browser.mjs", json.dumps(asked)], env=self.stage.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)

    def send(self, connection, path="/v1"):
        """A request of a program, by the base URL of a connection: the answer, and what the origin
        was shown; nothing where it was not asked."""
        bearer = f"Authorization: Bearer {self.stage.token}"
        answer = self.curl("-H", bearer, f"{self.stage.proxy}/~/{connection}{path}")
        if "proxy-status" in answer.fields:
            return answer, None
        received = self.stage.directory / "origin" / str(answer.json["received"])
        return answer, re.findall(r"^authorization: (.*)$", received.read_text(), re.MULTILINE)

    def ask_provider(self, client, path, **form):
        """What the provider answers a client that shows its secret in a field."""
        port, secret = urlsplit(self.stage.issuer).port, self.stage.passwords[client]
        pair = f"{quote(f'id of:{client}', safe='')}:{quote(secret, safe='')}"
        pairs = (f"{name}={value}" for name, value in form.items())
        return self.curl(
            "--resolve", f"{PROVIDER}:{port}:127.0.0.1", "--cacert",
            self.stage.directory / "origin/ca.pem", "-u", pair, f"{self.stage.issuer}{path}",
            *(part for pair in pairs for part in ("--data-urlencode", pair)),
        )

    def begin(self, **body):
        answer = self.ask("POST", "/oauth/start/my_integration", body)
        self.assertEqual((answer.status, set(answer.json)), (200, {"redirect_url"}), answer.text)
        return answer.json["redirect_url"]

    # What must be true of it.

    def judge_tokens(self, shown, lifetime, refreshable=True):
        """The tokens are those of the provider's answer, which is whole, and they are good."""
        said = json.loads(shown["oauth_access_token_response_body"])
        self.assertEqual(shown["access_token"], said["access_token"])
        self.assertEqual(shown["refresh_token"], said.get("refresh_token", ""))
        self.assertEqual(bool(shown["refresh_token"]), refreshable)
        self.assertEqual((shown["token_type"], said["expires_in"]), ("Bearer", lifetime))
        self.assertRegex(shown["token_expiry"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        expiry = datetime.fromisoformat(shown["token_expiry"].replace("Z", "+00:00"))
        ends = datetime.now(timezone.utc) + timedelta(seconds=lifetime)
        self.assertLess(abs(ends - expiry), timedelta(seconds=5))
        looked_at = {"token": shown["access_token"]}
        active = self.ask_provider("machine", "/token/introspection", **looked_at).json["active"]
        self.assertTrue(active)
        self.keep_secret(shown["access_token"], shown["refresh_token"])

    def judge_ending(self, seen, ends):
        """The flow has ended there, with a verification code; gives it, and the callback's query."""
        self.assertEqual(seen["status"], 200, seen)
        said = r"[?&]verification_token=([\w-]+)&verification_code=([\w-]+)"
        found = re.fullmatch(re.escape(ends) + said, seen["visited"][-1])
        self.assertTrue(found, seen["visited"])
        self.assertEqual(found[1], found[2])
        [callback] = [url for url in seen["visited"] if url.startswith(self.stage.url + CALLBACK)]
        query = urlsplit(callback).query
        self.keep_secret(found[1], *(value for [value] in parse_qs(query).values()))
        return found[1], query

    def keep_secret(self, *texts):
        """None of this may be seen in a log, or in what is kept."""
        self.stage.secrets |= {text for text in texts if text and text != self.stage.issuer}

    def judge_fresh(self, answer):
        self.assertEqual(answer.fields["content-type"], "application/json")
        self.assertEqual(answer.fields["cache-control"], "no-store")

    def test_the_commands_of_the_reference_make_a_connection(self):
        started = self.reference(START)
        self.assertEqual((started.status, set(started.json)), (200, {"redirect_url"}), started.text)
        redirect_url = started.json["redirect_url"]
        start = f"{self.stage.url}{ZIS}/oauth/start_redirect?flow_token="
        self.assertRegex(redirect_url, f"^{re.escape(start)}[\\w-]{{32,}}$")
        seen = self.browse(redirect_url, ends="https://client.int/callback")
        asked = parse_qs(urlsplit(seen["visited"][1]).query)
        self.assertTrue(seen["visited"][1].startswith(f"{self.stage.issuer}/auth?"))
        self.assertEqual(asked.pop("client_id"), ["id of:my_oauth_client_name"])
        self.assertEqual(asked.pop("redirect_uri"), [self.stage.url + CALLBACK])
        self.assertRegex(asked.pop("state")[0], "^[A-Za-z0-9_-]{43}$")
        self.assertRegex(asked.pop("code_challenge")[0], "^[A-Za-z0-9_-]{43}$")
        self.assertEqual(asked, {
            "prompt": ["consent"], "response_type": ["code"], "code_challenge_method": ["S256"],
            "scope": ["read write"], "access_type": ["offline"],
        })
        code, callback = self.judge_ending(seen, "https://client.int/callback")
        exchanged = self.reference(EXCHANGE, verification_code=code)
        self.assertEqual((exchanged.status, set(exchanged.json)), (200, EXCHANGED), exchanged.text)
        self.judge_fresh(exchanged)
        first = exchanged.json
        self.judge_tokens(first, 600)
        common = {
            "created_by": "test_user", "integration": "my_integration",
            "permission_scope": "read write", "zendesk_account_id": 123456,
        }
        self.assertEqual({name: first[name] for name in common}, common)
        self.assertEqual(first["origin_oauth_redirect_url"], "https://client.int/callback")
        self.assertEqual(first["raw_callback_params"], callback)
        self.assertEqual(self.reference(EXCHANGE, verification_code=code).outcome, INVALID)

        common |= {
            "name": "my_connection_name", "oauth_url_subdomain": "foobar", "uuid": first["uuid"],
            "oauth_client_uuid": self.registered["my_oauth_client_name"]["uuid"],
        }
        for by, value in (("name", "my_connection_name"), ("uuid", first["uuid"])):
            shown = self.reference(SHOW % (by, by), **{by: value})
            self.assertEqual((shown.status, set(shown.json)), (200, CONNECTION), shown.text)
            self.judge_fresh(shown)
            self.assertEqual({name: shown.json[name] for name in common}, common)
            self.assertEqual(shown.json["access_token"], first["access_token"])
        self.judge_use(first)
        self.judge_rotation(first, common)

    def judge_use(self, first):
        """Nothing is sent before it is said where to; then the token, and nothing else."""
        answer, shown = self.send("my_connection_name")
        refusal = answer.json["errors"][0]["code"]
        self.assertEqual((answer.status, refusal), (403, "DomainNotAllowed"))
        self.assertIsNone(shown)
        path = "/my_integration?name=my_connection_name"
        bound = self.ask("PATCH", path, {"allowed_domain": API})
        self.assertEqual((bound.status, bound.json["allowed_domain"]), (200, API))
        self.assertEqual(set(bound.json), CONNECTION | {"allowed_domain"})
        other = self.ask("PATCH", path, {"allowed_domain": CLIENT})
        self.assertEqual((other.status, other.json["errors"][0]["code"]), (422, "1303"))
        answer, shown = self.send("my_connection_name")
        self.assertEqual((answer.status, shown), (200, [f"Bearer {first['access_token']}"]))

    def judge_rotation(self, before, common):
        """Each refresh brings other tokens, and the provider is shown none of them twice."""
        spent = self.stage.events_of("spent")
        seen = [before["access_token"]]
        for by in ("name", "uuid", "name", "uuid"):
            answer = self.reference(REFRESH % (by, by), **{by: common[by]})
            whole = CONNECTION | {"allowed_domain"}
            self.assertEqual((answer.status, set(answer.json)), (200, whole), answer.text)
            self.judge_fresh(answer)
            self.assertEqual({name: answer.json[name] for name in common}, common)
            self.assertNotIn(answer.json["access_token"], seen)
            self.assertNotEqual(answer.json["refresh_token"], before["refresh_token"])
            self.judge_tokens(answer.json, 600)
            before = answer.json
            seen.append(before["access_token"])
            answer, shown = self.send("my_connection_name")
            self.assertEqual((answer.status, shown), (200, [f"Bearer {before['access_token']}"]))
        self.assertEqual(self.stage.events_of("spent"), spent + 4)
        self.assertEqual(self.stage.events_of("revoked"), self.stage.revoked)
        listed = self.curl(
            "-H", f"Authorization: Bearer {self.stage.token}",
            f"{self.stage.url}/api/services/zis/integrations/my_integration/connections/all",
        )
        self.judge_fresh(listed)
        types = {"api_key", "basic_auth", "bearer_token", "oauth"}
        self.assertEqual(set(listed.json), types | {"meta"})
        [item] = [item for item in listed.json["oauth"] if item["name"] == "my_connection_name"]
        self.assertEqual(item, {name: before[name] for name in ITEM | {"allowed_domain"}})
        masked = self.ask("GET", "/my_integration?name=my_connection_name", token=self.stage.reader)
        hidden = ["access_token", "oauth_access_token_response_body", "refresh_token"]
        self.assertEqual(masked.json, before | dict.fromkeys(hidden, "*****"))

    def test_a_connection_keeps_itself_fresh_for_all_who_use_it(self):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Done)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        ends = f"http://127.0.0.1:{server.server_port}/done?a=1"
        url = self.begin(
            oauth_client_name="short", name="short_lived", allowed_domain=API,
            origin_oauth_redirect_url=ends,
        )
        code, _callback = self.judge_ending(self.browse(url, ends=ends), ends)
        # It is there already, before the exchange.
        answer, [first] = self.send("short_lived")
        self.assertEqual(answer.status, 200)
        exchanged = self.ask("GET", f"/oauth/access_codes/my_integration?verification_code={code}")
        self.assertEqual(set(exchanged.json), EXCHANGED | {"allowed_domain"})
        self.assertEqual(exchanged.json["origin_oauth_redirect_url"], ends)
        deadline = time.monotonic() + 20
        spent, lock, tokens = self.stage.events_of("spent"), threading.Lock(), {first}

        def work(_number):
            while len(tokens) < 4 and time.monotonic() < deadline:
                answer, [token] = self.send("short_lived")
                with lock:
                    tokens.add(token)
                if answer.status != 200:
                    return answer.text
            return None

        with ThreadPoolExecutor(4) as pool:
            self.assertEqual(list(pool.map(work, range(4))), [None] * 4)
        self.assertGreaterEqual(len(tokens), 4)
        self.assertGreaterEqual(self.stage.events_of("spent"), spent + 2)
        self.assertEqual(self.stage.events_of("revoked"), self.stage.revoked)

    def test_a_grant_that_the_provider_has_ended_is_given_again(self):
        ends = "https://client.int/callback"
        again = {
            "oauth_client_name": "short", "name": "leaked", "allowed_domain": API,
            "origin_oauth_redirect_url": ends,
        }
        self.judge_ending(self.browse(self.begin(**again), ends=ends), ends)
        leaked = self.ask("GET", "/my_integration?name=leaked").json
        # Somebody else spends the refresh token, so Keyferry's is the one that is shown twice.
        stolen = self.ask_provider(
            "short", "/token", grant_type="refresh_token", refresh_token=leaked["refresh_token"],
        )
        self.assertEqual(stolen.status, 200, stolen.text)
        self.stage.revoked += 1
        self.judge_unprocessable(self.ask("GET", "/refresh/my_integration?name=leaked"))
        self.assertEqual(self.stage.events_of("revoked"), self.stage.revoked)
        lapsed = self.ask("GET", "/my_integration?name=leaked")
        needs = {"needs_reauthorization": True, "reauthorization_reason": "invalid_grant"}
        shown = lapsed.json
        failure = shown.pop("refresh_failure")
        self.assertEqual((failure["who_must_act"], failure["code"]), ("user", "invalid_grant"))
        self.assertEqual((lapsed.status, shown), (200, leaked | needs))
        deadline = time.monotonic() + 10
        while (answer := self.send("leaked")[0]).status == 200 and time.monotonic() < deadline:
            pass
        code = answer.json["errors"][0]["code"]
        self.assertEqual((answer.status, code), (502, "ReauthorizationNeeded"))
        self.assertIn("error=proxy_configuration_error", answer.fields["proxy-status"])

        code, _callback = self.judge_ending(self.browse(self.begin(**again), ends=ends), ends)
        exchanged = self.ask("GET", f"/oauth/access_codes/my_integration?verification_code={code}")
        self.assertEqual(set(exchanged.json), EXCHANGED | {"allowed_domain"})
        self.assertEqual(exchanged.json["uuid"], leaked["uuid"])
        answer, _shown = self.send("leaked")
        self.assertEqual(answer.status, 200)

    def test_client_credentials_are_granted_in_one_go(self):
        url = self.begin(oauth_client_name="machine", name="a_machine", allowed_domain=API)
        exchange = f"^{self.stage.url}{ZIS}/oauth/access_codes/my_integration\\?verification_code="
        self.assertRegex(url, exchange)
        self.assertEqual(self.ask("GET", "/my_integration?name=a_machine").outcome, MISSING)
        answer, _nothing = self.send("a_machine")
        self.assertEqual(answer.json["errors"][0]["code"], "ConnectionNotFound")
        bearer = f"Authorization: Bearer {self.stage.token}"
        exchanged = self.curl("-H", bearer, url)
        self.assertEqual(exchanged.status, 200, exchanged.text)
        self.assertEqual(set(exchanged.json), EXCHANGED | {"allowed_domain"})
        self.judge_tokens(exchanged.json, 600, refreshable=False)
        self.assertEqual(exchanged.json["raw_callback_params"], "")
        self.assertEqual(exchanged.json["origin_oauth_redirect_url"], "")
        self.assertEqual(self.curl("-H", bearer, url).outcome, INVALID)
        answer, shown = self.send("a_machine")
        self.assertEqual((answer.status, shown), (200, [f"Bearer {exchanged.json['access_token']}"]))
        minted = self.ask("GET", "/refresh/my_integration?name=a_machine")
        self.assertEqual((minted.status, set(minted.json)), (200, CONNECTION | {"allowed_domain"}))
        self.assertNotEqual(minted.json["access_token"], exchanged.json["access_token"])
        self.judge_tokens(minted.json, 600, refreshable=False)
        answer, shown = self.send("a_machine")
        self.assertEqual(shown, [f"Bearer {minted.json['access_token']}"])
        self.assertEqual(self.ask("DELETE", "/my_integration?name=a_machine").status, 204)
        answer, _nothing = self.send("a_machine")
        self.assertEqual(answer.json["errors"][0]["code"], "ConnectionNotFound")

    def test_one_grant_serves_git_and_rest_at_a_forge(self):
        """Real clones and pushes, and calls of the REST API, by one connection under
        `keyferry run`. The forge takes a token of the grant as the password of Basic at both of its
        hosts, as GitHub does, and asks the provider whether it is good."""
        inject = [{
            "in": "header", "name": "Authorization",
            "value": "{basic:'x-access-token',access_token}",
        }]
        made = self.register("forge", inject=inject)
        self.addCleanup(self.ask, "DELETE", f"/oauth/clients/my_integration/{made['uuid']}")
        ends = "https://client.int/callback"
        url = self.begin(
            oauth_client_name="forge", name="forge", allowed_domain=f"*.{GIT}",
            origin_oauth_redirect_url=ends,
        )
        self.judge_ending(self.browse(url, ends=ends), ends)
        shown = {GIT: [], REST: []}
        self.stage.judge_forge = lambda host, field: self.judge_forge(shown[host], field)
        self.judge_commands_of_git()
        # Without .curlrc, so that it prints the body alone.
        answer = self.under_run("curl", "-q", "-sS", f"https://{REST}/repos/acme/site")
        self.assertEqual(json.loads(answer), {"full_name": "acme/site"})
        # The tokens ended meanwhile: others have taken their place, unseen by git.
        tokens = [token for tokens in shown.values() for token in tokens]
        self.assertTrue(all(shown.values()), shown)
        self.assertGreater(len(set(tokens)), 1)
        # One that ended on its way was refused, and the request was sent again with the next.
        for seen in shown.values():
            self.assertIsNotNone(seen[-1], seen)
            self.assertFalse(any(pair == (None, None) for pair in pairwise(seen)), seen)
        # Nobody is served without the credential, and it reaches no other host.
        port = self.stage.forge[REST]
        bare = self.curl(
            "--resolve", f"{REST}:{port}:127.0.0.1", "--cacert",
            self.stage.directory / "origin/ca.pem", f"https://{REST}:{port}/repos/acme/site",
        )
        self.assertEqual(bare.status, 401)

    def judge_forge(self, seen, field):
        """Tells whether a field has a good token as the password of Basic, and notes the token."""
        scheme, _, pair = (field or "").partition(" ")
        user, _, token = base64.b64decode(pair).decode().partition(":")
        if scheme != "Basic" or user != "x-access-token":
            return False
        self.keep_secret(token, pair)
        asked = self.ask_provider("machine", "/token/introspection", token=token).json
        seen.append(token if asked["active"] else None)
        return asked["active"]

    def judge_commands_of_git(self):
        identity = ["-c", "user.name=Ferry", "-c", "user.email=ferry@example.test"]
        bare, url = self.stage.repositories / "acme/site.git", f"https://{GIT}/acme/site.git"
        for command in (
            ["git", "init", "--quiet", "--bare", bare],
            ["git", "-C", bare, "config", "http.receivepack", "true"],
        ):
            subprocess.run(command, check=True, env=self.stage.environment())
        self.under_run("git", "clone", "--quiet", url, "site")
        commit = ["commit", "--quiet", "--allow-empty", "-m", "a commit"]
        self.under_run("git", *identity, "-C", "site", *commit)
        # So that the token that was used to clone has ended.
        deadline = time.monotonic() + 20
        first = self.ask("GET", "/my_integration?name=forge").json["token_expiry"]
        while datetime.now(timezone.utc) < datetime.fromisoformat(first.replace("Z", "+00:00")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.1)
        self.under_run("git", "-C", "site", "push", "--quiet", "origin", "HEAD:main")
        self.under_run("git", "clone", "--quiet", "--branch", "main", url, "again")
        log = ["git", "-C", self.stage.directory / "again", "log", "--format=%s"]
        done = subprocess.run(
            log, check=True, stdout=subprocess.PIPE, text=True, env=self.stage.environment(),
        )
        self.assertEqual(done.stdout, "a commit\n")

    def under_run(self, *program):
        """What a program prints under `keyferry run`, which knows no credential."""
        environment = {
            **self.stage.environment(), "KEYFERRY_URL": self.stage.url,
            "KEYFERRY_TOKEN": (self.stage.directory / "keyferry-data/admin.token").read_text().strip(),
            "GIT_TERMINAL_PROMPT": "0",
        }
        run = [self.stage.build / "keyferry", "run", "--integration", "my_integration", "--"]
        done = subprocess.run(
            [*run, *program], env=environment, cwd=self.stage.directory, timeout=60, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_a_user_who_says_no_makes_no_connection(self):
        ends = "https://client.int/callback"
        client = {"oauth_client_name": "short", "origin_oauth_redirect_url": ends}
        seen = self.browse(self.begin(**client, name="refused"), says="no", ends=ends)
        said = parse_qs(urlsplit(seen["visited"][-1]).query)
        self.assertEqual(set(said), {"error", "error_description"})
        self.assertEqual(said["error"], ["access_denied"])
        self.assertEqual(self.ask("GET", "/my_integration?name=refused").outcome, MISSING)

    def test_a_flow_goes_on_in_the_browser_that_it_began_in(self):
        url = self.begin(oauth_client_name="short", name="stolen")
        seen = self.browse(url, halts=self.stage.url + CALLBACK)
        callback = seen["visited"][-1]
        self.assertTrue(callback.startswith(f"{self.stage.url}{CALLBACK}?code="), callback)
        elsewhere = self.browse(callback, says=None)
        self.assertEqual(elsewhere["status"], 400)
        self.assertIn("This sign-in was started in another browser", elsewhere["text"])
        self.assertEqual(elsewhere["visited"], [callback])
        # Neither can who has the link alone. The browser that has begun it still could.
        self.assertEqual(self.curl(callback).outcome, INVALID)
        self.assertEqual(self.curl(url).outcome, INVALID)
        self.assertEqual(self.ask("GET", "/my_integration?name=stolen").outcome, MISSING)

    def test_a_person_signs_in_at_the_console(self):
        page = f"{self.stage.url}/console/i/my_integration/events?kind=session"
        begin = f"{self.stage.url}/console/sign-in/openid?next={quote(urlsplit(page).path, safe='')}"
        seen = self.browse(begin, ends=page.partition("?")[0])
        self.judge_person(seen, page.partition("?")[0])
        answer = self.curl(
            f"{self.stage.url}/api/keyferry/v1/events?kind=session.sign_in", "-H",
            f"Authorization: Bearer {(self.stage.directory / 'keyferry-data/admin.token').read_text().strip()}",
        )
        [event] = answer.json["events"]
        person = {
            "issuer": self.stage.issuer, "subject": "a-user", "email": "a-user@example.test",
        }
        self.assertEqual((event["operator"], event["person"]), (person["email"], person))

    def test_a_person_who_says_no_is_not_signed_in(self):
        seen = self.browse(
            f"{self.stage.url}/console/sign-in/openid", says="no",
            ends=f"{self.stage.url}/console/sign-in/callback",
        )
        self.assertEqual(seen["status"], 403, seen)
        self.assertIn("access_denied", seen["text"])

    def judge_person(self, seen, page):
        """A person was led to the provider, back, and on to this page, by nothing but its own
        site."""
        self.assertEqual((seen["status"], seen["visited"][-1]), (200, page), seen)
        self.assertIn("a-user@example.test", seen["text"])
        asked = parse_qs(urlsplit(seen["visited"][1]).query)
        self.assertTrue(seen["visited"][1].startswith(f"{self.stage.issuer}/auth?"), seen)
        for name in ("state", "nonce", "code_challenge"):
            self.assertRegex(asked.pop(name)[0], "^[A-Za-z0-9_-]{43}$")
        self.assertEqual(asked, {
            "client_id": ["id of:console"], "response_type": ["code"],
            "redirect_uri": [f"{self.stage.url}/console/sign-in/callback"],
            "code_challenge_method": ["S256"], "scope": ["openid email groups"],
        })
        callback = f"{self.stage.url}/console/sign-in/callback?"
        [query] = [url.partition("?")[2] for url in seen["visited"] if url.startswith(callback)]
        self.keep_secret(*(value for [value] in parse_qs(query).values()))

    def test_clients_are_shown_without_their_secrets(self):
        for made in self.registered.values():
            self.assertEqual(set(made), OAUTH_CLIENT)
            self.assertEqual(made["client_secret"], "*****")
            path = f"/oauth/clients/my_integration/{made['uuid']}"
            self.assertEqual(self.ask("GET", path).outcome, (200, made))
        listed = self.ask("GET", "/oauth/clients/my_integration").json["clients"]
        self.assertEqual({client["name"]: client for client in listed}, self.registered)
        put = self.ask("PUT", path, {"client_secret": "x"})
        self.assertEqual(put.status, 405)
        self.assertEqual(put.methods, {"DELETE", "GET", "HEAD", "PATCH"})
        moved = self.ask("PATCH", path, {"token_url": "https://evil.example.com/token"})
        self.assertEqual((moved.status, moved.json["errors"][0]["code"]), (422, "1303"))

    def test_errors_are_those_of_the_reference(self):
        start, name = "/oauth/start/my_integration", {"oauth_client_name": "machine"}
        exchange = "/oauth/access_codes/my_integration"
        stranger = self.stage.make_token("other", ["write"], "other_integration")
        nobody = "00000000-0000-4000-8000-000000000000"
        for method, path, body, token, expected in (
            ("POST", start, name, "", UNAUTHORIZED),
            ("POST", start, name, "kf_wrong", UNAUTHORIZED),
            ("POST", start, name, stranger, UNAUTHORIZED),
            ("POST", start, name, self.stage.reader, FORBIDDEN),
            ("POST", start, {"oauth_client_name": "nobody"}, None, MISSING),
            ("POST", start, {"oauth_client_uuid": nobody}, None, MISSING),
            ("GET", "/oauth/start_redirect?flow_token=xyz", None, "", INVALID),
            ("GET", "/oauth/start_redirect", None, "", INVALID),
            ("GET", "/oauth/callback?code=a&state=b", None, "", INVALID),
            ("GET", f"{exchange}?verification_code=s8fOrC4oP", None, None, INVALID),
            ("GET", exchange, None, None, INVALID),
            ("GET", f"{exchange}?verification_code=s8fOrC4oP", None, "", UNAUTHORIZED),
            ("GET", "/my_integration", None, None, INVALID),
            ("GET", "/my_integration?name=nobody", None, None, MISSING),
            ("GET", f"/my_integration?uuid={nobody}", None, None, MISSING),
            ("GET", "/refresh/my_integration", None, None, INVALID),
            ("GET", "/refresh/my_integration?name=nobody", None, None, MISSING),
            ("GET", "/refresh/my_integration?name=nobody", None, self.stage.reader, FORBIDDEN),
            ("GET", "/refresh/my_integration?name=nobody", None, "", UNAUTHORIZED),
            ("GET", f"/oauth/clients/my_integration/{nobody}", None, None, MISSING),
        ):
            with self.subTest(method=method, path=path, body=body, token=token):
                self.assertEqual(self.ask(method, path, body, token).outcome, expected)
        for body in (
            {}, {"name": "nameless"}, name | {"name": "no name"}, name | {"grant_type": "password"},
            name | {"allowed_domain": "*.com"}, name | {"oauth_url_subdomain": "evil.com/"},
            name | {"origin_oauth_redirect_url": "https://evil.example.com/"},
            name | {"origin_oauth_redirect_url": "https://client.int.example.com/"},
            name | {"origin_oauth_redirect_url": "https://client.int@example.com/"},
            name | {"oauth_client_uuid": self.registered["short"]["uuid"]},
            name | {"permission_scopes": 'a"b'}, name | {"name": "zendesk"},
        ):
            with self.subTest(body=body):
                self.judge_unprocessable(self.ask("POST", start, body))
        self.judge_unprocessable(self.reference(TOKEN))

    def judge_unprocessable(self, answer):
        self.assertEqual(answer.status, 422, answer.text)
        for said in answer.json["errors"]:
            self.assertEqual(set(said), {"code", "detail", "status"})
            self.assertEqual((said["code"], said["status"]), ("1303", "422"))
            self.assertRegex(said["detail"], r"^Invalid value for: [A-Z][A-Za-z ]*\. Desc: \S.*$")

    def test_a_refresh_is_a_get(self):
        answer = self.ask("POST", "/refresh/my_integration?name=my_connection_name")
        self.assertEqual(answer.status, 405)
        self.assertEqual(answer.methods - {"HEAD"}, {"GET"})

    def test_who_asks_too_often_is_told_when_to_come_back(self):
        port = free_port()
        self.stage.serve("limited", port, 1)
        token = (self.stage.directory / "limited-data/admin.token").read_text().strip()
        url = f"http://127.0.0.1:{port}{ZIS}/oauth/clients/my_integration"
        answers = [self.curl("-H", f"Authorization: Bearer {token}", url) for _ in range(2)]
        self.assertEqual(answers[0].status, 200)
        self.assertEqual(answers[1].outcome, (429, error(429, "1300", "Too many requests")))
        self.assertRegex(answers[1].fields["retry-after"], r"^\d+$")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


PROGRAMS = sys.argv[1]

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
