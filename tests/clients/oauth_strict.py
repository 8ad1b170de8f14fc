"""Judges OAuth connections with the certified provider in its strict configurations, and with a
real MCP server and a real MCP client.

`oauth_strict.py PROGRAMS` starts the origin, the provider, the MCP server and Keyferry out of the
directory PROGRAMS.
"""

import json
import re
import secrets
import subprocess
import sys
import tempfile
import unittest
from urllib.parse import urlsplit

import oauth
from oauth import API, CALLBACK, CLIENT, CODE, HERE, NODE, PROVIDER, free_port

MCP, OWN = "mcp.example.test", "keyferry.example.test"
ENDS = "https://client.int/callback"
CONFIG = oauth.CONFIG + """
[api.tls]
cert = "chain.pem"
key = "origin/leaf.key"
"""

# The provider's clients: how each shows its secret, and what else is registered.
CLIENTS = {
    "form_post": ("client_secret_basic", {}),
    "no_pkce": ("client_secret_post", {"lax": True}),
    "bound": ("client_secret_basic", {"more": {"dpop_bound_access_tokens": True}}),
}


class Stage(oauth.Stage):
    """The origin, the provider, the MCP server and Keyferry, whose own name has TLS."""

    rules = (f"MAP {OWN} 127.0.0.1",)

    def set(self):
        names = [API, PROVIDER, CLIENT, MCP, OWN]
        self.origin = self.start(["origin", "origin", *names], r"address (\S+)\nca ")[1]
        # Commands trust what the server shows, its authority included.
        chain = [(self.directory / f"origin/{name}.pem").read_text() for name in ("leaf", "ca")]
        (self.directory / "chain.pem").write_text("".join(chain))
        port, mcp_port = free_port(), free_port()
        self.url, self.mcp_url = f"https://{OWN}:{port}", f"https://{MCP}:{mcp_port}/mcp"
        self.passwords = {name: f"a b+%:&/{secrets.token_urlsafe(24)}" for name in CLIENTS}
        self.secrets, self.revoked = {*self.passwords.values()}, 0
        registered = [
            {"id": f"id of:{name}", "secret": self.passwords[name], "method": method,
             "grants": CODE, "lifetime": 600, **more}
            for name, (method, more) in CLIENTS.items()
        ]
        self.passwords["console"] = f"a b+%:&/{secrets.token_urlsafe(24)}"
        self.secrets.add(self.passwords["console"])
        registered.append(oauth.console_client(self.passwords["console"], self.url))
        config = {
            "host": PROVIDER, "callback": self.url + CALLBACK, "clients": registered,
            "resource": self.mcp_url,
        }
        self.write("provider.json", config)
        self.events = self.directory / f"{len(self.children)}.out"
        files = ["provider.json", "origin/leaf.pem", "origin/leaf.key"]
        provider = [NODE, HERE / "oauth/provider.mjs", *files]
        self.issuer = self.start(provider, r"issuer (https\S+)\n")[1]
        config = {
            "host": MCP, "port": mcp_port, "issuer": self.issuer, "id": "id of:form_post",
            "secret": self.passwords["form_post"],
        }
        self.write("mcp.json", config)
        files = ["mcp.json", "origin/leaf.pem", "origin/leaf.key"]
        self.start([NODE, HERE / "oauth/mcp_server.mjs", *files], r"mcp (https\S+)\n")
        self.proxy = self.serve("keyferry", port, 0)
        scopes = ("read", "write", "proxy")
        self.token = self.make_token("test_user", scopes)
        self.trust()

    def write(self, name, content):
        (self.directory / name).write_text(json.dumps(content))

    def serve(self, name, port, rate):
        provider, mcp = (urlsplit(url).port for url in (self.issuer, self.mcp_url))
        text = CONFIG.format(
            api=port, rate=rate, origin=self.origin, provider=provider, API=API,
            PROVIDER=PROVIDER, CLIENT=CLIENT, pins="",
        )
        text = text.replace(f'"http://127.0.0.1:{port}"', f'"{self.url}"')
        text = text.replace(f"[443, {provider}]", f"[443, {provider}, {mcp}]")
        # Below a base URL a connection's host is asked at port 443.
        pins = "".join(f'"{MCP}:{at}" = "127.0.0.1:{mcp}"\n' for at in (443, mcp))
        text = text.replace("[upstream.resolve]\n", f"[upstream.resolve]\n{pins}")
        text += oauth.SIGN_IN.format(issuer=self.issuer, secret=self.passwords["console"])
        (self.directory / f"{name}.toml").write_text(text)
        serve = ["keyferry", "serve", "--config", f"{name}.toml", "--data-dir", f"{name}-data"]
        return self.start(serve, r"proxy +(http\S+)\n +API")[1]

    def operate(self, *arguments, **options):
        """A command of an operator, who finds the API by its configuration."""
        where = ["--data-dir", "keyferry-data", "--config", "keyferry.toml"]
        return subprocess.Popen(
            [self.build / "keyferry", *arguments, *where],
            cwd=self.directory, env={"KEYFERRY_INTEGRATION": "my_integration"}, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options,
        )

    @property
    def port(self):
        return urlsplit(self.url).port

    def make_token(self, name, scopes, integration="my_integration"):
        scopes = (part for scope in scopes for part in ("--scope", scope))
        made = self.operate(
            "token", "create", "--name", name, "--integration", integration, *scopes,
        )
        token, said = made.communicate(timeout=60)
        assert made.returncode == 0, said
        return token.strip()

    def trust(self):
        super().trust()
        ca = self.directory / "origin/ca.pem"
        lines = f"include\nsilent\nshow-error\ncacert = {ca}\n"
        (self.directory / ".curlrc").write_text(lines)

    def end(self):
        """Stops what was started, which must have told no secret and broken nothing."""
        _origin, _provider, _mcp, keyferry = self.stop()
        assert keyferry == 0, keyferry
        assert not self.events_of("broken"), self.events.read_text()


class Strict(unittest.TestCase):
    maxDiff = None

    browse = oauth.OAuth.browse
    begin = oauth.OAuth.begin
    judge_ending = oauth.OAuth.judge_ending
    keep_secret = oauth.OAuth.keep_secret
    judge_person = oauth.OAuth.judge_person

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.stage = Stage(PROGRAMS, directory.name)
        cls.addClassCleanup(cls.stage.end)
        cls.stage.set()

    def curl(self, *arguments):
        stage = self.stage
        trusted = ["--cacert", stage.directory / "origin/ca.pem"]
        resolved = ["--resolve", f"{OWN}:{stage.port}:127.0.0.1"]
        command = ["curl", "-gisS", "--max-time", "20", *trusted, *resolved, *arguments]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=30)
        return oauth.Answer(done.stdout.decode())

    def ask(self, method, path, body=None, token=None):
        bearer = f"Authorization: Bearer {self.stage.token}"
        arguments = ["-X", method, f"{self.stage.url}{oauth.ZIS}{path}", "-H", bearer]
        if body is not None:
            arguments += ["-H", "content-type: application/json", "-d", json.dumps(body)]
        return self.curl(*arguments)

    def register(self, name, **more):
        """Makes a client, which is filled in from its issuer."""
        body = {
            "name": name, "client_id": f"id of:{name}",
            "client_secret": self.stage.passwords[name], "issuer": self.stage.issuer,
            "default_scopes": "openid offline_access api",
            "token_endpoint_auth_method": CLIENTS[name][0], **more,
        }
        answer = self.ask("POST", "/oauth/clients/my_integration", body)
        self.assertEqual(answer.status, 201, answer.text)
        client = answer.json
        self.assertEqual(client["token_url"], f"{self.stage.issuer}/token")
        self.assertEqual(client["auth_url"], f"{self.stage.issuer}/auth")
        self.assertEqual(client["revocation_url"], f"{self.stage.issuer}/token/revocation")
        return client

    def go_through(self, name, connection):
        url = self.begin(
            oauth_client_name=name, name=connection, allowed_domain=API,
            origin_oauth_redirect_url=ENDS,
        )
        return self.browse(url, ends=ENDS)

    def judge_connection(self, name):
        shown = self.ask("GET", f"/my_integration?name={name}")
        self.assertEqual(shown.status, 200, shown.text)
        refreshed = self.ask("GET", f"/refresh/my_integration?name={name}")
        self.assertEqual(refreshed.status, 200, refreshed.text)
        self.assertNotEqual(refreshed.json["access_token"], shown.json["access_token"])
        self.assertEqual(self.stage.events_of("revoked"), self.stage.revoked)
        self.stage.revoked += 1
        deleted = self.ask("DELETE", f"/my_integration?name={name}")
        self.assertEqual(deleted.status, 204, deleted.text)
        self.assertEqual(deleted.fields["x-keyferry-revocation"], "revoked")
        self.assertEqual(self.stage.events_of("revoked"), self.stage.revoked)

    def test_a_person_signs_in_at_a_console_with_tls(self):
        # Its cookies are for this host alone, and are never shown in clear.
        page = f"{self.stage.url}/console/i/my_integration/tokens"
        begin = f"{self.stage.url}/console/sign-in/openid?next={urlsplit(page).path}"
        self.judge_person(self.browse(begin, ends=page), page)

    def test_an_answer_by_a_form_comes_with_the_browsers_cookie(self):
        self.register("form_post", auth_params={"response_mode": "form_post", "prompt": "consent"})
        seen = self.go_through("form_post", "posted")
        [callback] = [url for url in seen["visited"] if url.startswith(self.stage.url + CALLBACK)]
        self.assertEqual(callback, self.stage.url + CALLBACK, "the answer is in no URL")
        self.assertRegex(seen["visited"][-1], f"^{re.escape(ENDS)}.verification_token=")
        self.judge_connection("posted")

    def test_a_client_may_send_no_code_challenge_where_the_provider_wants_none(self):
        self.register("no_pkce", pkce="off", auth_params={"prompt": "consent"})
        seen = self.go_through("no_pkce", "unchallenged")
        [asked] = [url for url in seen["visited"] if url.startswith(f"{self.stage.issuer}/auth?")]
        self.assertNotIn("code_challenge", asked)
        # The provider names itself, and is compared exactly (RFC 9207).
        self.judge_ending(seen, ENDS)
        self.judge_connection("unchallenged")

    def test_a_client_that_must_bind_its_tokens_gets_none(self):
        self.register("bound", auth_params={"prompt": "consent"})
        seen = self.go_through("bound", "bound")
        # The provider keeps to itself that it misses a proof (DPoP), and says what it says then.
        self.assertIn("error=invalid_grant&", seen["visited"][-1])
        self.assertEqual(self.ask("GET", "/my_integration?name=bound").status, 404)
        self.assertTrue(self.stage.events_of("refused"))

    def test_one_line_connects_an_mcp_server_to_mcp_clients(self):
        stage = self.stage
        command = stage.operate(
            "connection", "create", "--type", "oauth", "--mcp", stage.mcp_url, "--no-browser",
        )
        said = iter(command.stderr.readline, "")
        url = next(line.strip() for line in said if line.startswith("https://"))
        self.browse(url, ends="http://127.0.0.1:")
        shown, rest = command.communicate(timeout=60)
        self.assertEqual(command.returncode, 0, rest)
        self.assertRegex(shown, r"name +mcp-example-test\n")
        base = f"{stage.proxy}/~/mcp-example-test/mcp"
        self.assertIn(base, rest)
        # For longer than a token lives, each call is a stream of events.
        client = [NODE, HERE / "oauth/mcp_client.mjs", base, stage.token, "7"]
        done = subprocess.run(
            client, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        found = json.loads(done.stdout)
        self.assertEqual((found["tools"], found["session"]), (["count"], True))
        self.assertGreaterEqual(found["calls"], 5)
        self.assertEqual(found["progress"], [1, 2, 3] * found["calls"])
        self.assertGreaterEqual(found["gap"], 100, "notes came one by one")
        self.assertEqual(found["changed"], found["calls"])
        self.assertGreaterEqual(stage.events_of("spent"), 1)


PROGRAMS = sys.argv[1]

if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
