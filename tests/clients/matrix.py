"""The client matrix: real clients, unmodified, through CONNECT and the interception CA.

`matrix.py PROGRAMS [NAMES…]` starts an origin and the proxy out of the directory PROGRAMS, and
runs each client in a process and an environment of its own, with the proxy and the CA set as its
users set them, and once more under `keyferry run`, with nothing set. What the origin has received
must have the credential, which the client never had. The table in docs/reference/clients.md is
made of the same rows (rows.py): `matrix.py PROGRAMS --write` writes it.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import origins
from programs import Programs
from rows import BY_BASE_URL, CLIENTS, INSIDE, MATRIX, OTHERS, node, python

IDLE_SECONDS, STREAM_SECONDS = 3, 90
HERE = Path(__file__).resolve().parent
TABLE = HERE.parent.parent / "docs/reference/clients.md"
HOSTS = [
    f"{name}.example.test" for name in ("api", "git", "ws", "rpc", "files", "hg")
]
CONFIG = """
[proxy]
listen = ["127.0.0.1:0"]
{more}
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
name = "all"
allowed_domain = "*.example.test"
token = {{ file = "secret" }}
[[connections]]
integration = "exact"
type = "bearer_token"
name = "git"
allowed_domain = "git.example.test"
token = {{ file = "secret" }}
[[connections]]
integration = "exact"
type = "bearer_token"
name = "files"
allowed_domain = "files.example.test"
token = {{ file = "secret" }}
[[tokens]]
name = "runner"
integration = "demo"
scopes = ["proxy"]
token = {{ file = "token" }}
[[tokens]]
name = "exact"
integration = "exact"
scopes = ["proxy"]
token = {{ file = "exact" }}
"""


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        programs = Programs(PROGRAMS, directory.name)
        cls.programs, cls.directory, cls.judged = programs, programs.directory, 0
        cls.addClassCleanup(programs.stop)
        cls.secret, cls.token = secrets.token_urlsafe(24), programs.run("keyferry", "token", "generate")
        cls.exact = programs.run("keyferry", "token", "generate")
        kept = (("secret", cls.secret), ("token", cls.token), ("exact", cls.exact))
        for name, content in kept:
            (cls.directory / name).touch(0o600)
            (cls.directory / name).write_text(content)
        said = programs.start(["origin", "origin", *HOSTS], r"address (\S+)\nca ")
        cls.credential = f"Bearer {cls.secret}"
        pair = [cls.directory / "origin/leaf.pem", cls.directory / "origin/leaf.key"]
        repositories = cls.directory / "repositories"
        port, cls.server = origins.rpc(*pair, cls.credential)
        ports = [
            said[1].rpartition(":")[2], origins.git(*pair, cls.credential, repositories),
            origins.websocket(*pair, cls.credential), port,
            origins.files(*pair, cls.credential, origins.published("files.example.test")),
            origins.mercurial(*pair, cls.credential, cls.directory / "mercurial"),
        ]
        pins = [f'"{host}:443" = "127.0.0.1:{port}"' for host, port in zip(HOSTS, ports)]
        cls.pins = "\n".join(pins)
        cls.proxy, cls.api = cls.serve("tokens", "")
        ca = subprocess.run(["curl", "-sS", "--fail", f"{cls.api}/ca.pem"], check=True, stdout=subprocess.PIPE)
        cls.idle_proxy, _ = cls.serve("idle", f'idle_timeout = "{IDLE_SECONDS}s"')
        cls.idle_ca = cls.directory / "idle-data/ca/cert.pem"
        # It lasts about as long as all the others together, and is judged after them.
        cls.stream = cls.grpc_stream("grpc-count", f"?{STREAM_SECONDS}")
        cls.ca = cls.directory / "ca.pem"
        cls.ca.write_bytes(ca.stdout)
        subprocess.run(
            ["keytool", "-importcert", "-noprompt", "-file", cls.ca, "-storepass", "changeit",
             "-keystore", cls.directory / "trust.jks"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )

    @classmethod
    def serve(cls, name, more):
        file = cls.directory / f"{name}.toml"
        file.write_text(CONFIG.format(more=more, pins=cls.pins))
        serve = ["keyferry", "serve", "--config", file.name, "--data-dir", f"{name}-data"]
        said = cls.programs.start(serve, r"proxy +http://(\S+)\n +API +(\S+)")
        return said[1], said[2]

    def environment(self, variables=()):
        url = f"http://demo:{self.token}@{self.proxy}"
        return {
            "PATH": os.environ["PATH"], "HOME": str(self.directory), "https_proxy": url, "http_proxy": url,
            "GOCACHE": str(self.directory / "go"), "GO111MODULE": "off",
            "DENO_DIR": str(self.directory / "deno"),
            **{
                variable.removesuffix("=PROXY"): url if variable.endswith("=PROXY") else str(self.ca)
                for variable in variables
            },
        }

    def environment_of_run(self):
        """What a program has under `keyferry run` before that adds to it."""
        token = (self.directory / "tokens-data/admin.token").read_text().strip()
        hand_set = ("https_proxy", "http_proxy")
        others = {name: v for name, v in self.environment().items() if name not in hand_set}
        return {**others, "KEYFERRY_URL": self.api, "KEYFERRY_TOKEN": token}

    def received(self):
        while (file := self.directory / "origin" / str(self.judged + 1)).exists():
            type(self).judged += 1
            head, _, _body = file.read_text().partition("\n\n")
            request, *fields = head.splitlines()
            yield request.split()[1], [tuple(field.split(": ", 1)) for field in fields]

    def run_client(self, command, environment, **options):
        done = subprocess.run(
            command, env=environment, cwd=self.directory, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=120, **options,
        )
        for place in (done.stdout, str(environment), str(command)):
            self.assertNotIn(self.secret, place)
        return done

    def run_all(self, *commands, environment=None):
        for command in commands:
            done = self.run_client(command, environment or self.environment())
            self.assertEqual(done.returncode, 0, done.stdout)

    def judge(self, client):
        host, port = self.proxy.split(":")
        stands = {"CA": str(self.ca), "PROXY_HOST": host, "PROXY_PORT": port}
        command = [
            re.sub("CA$|PROXY_HOST|PROXY_PORT", lambda found: stands[found[0]], part)
            for part in client.command
        ]
        self.judge_as(client, command, self.environment(client.variables))

    def judge_under_run(self, client):
        environment = self.environment_of_run()
        if client.run == INSIDE:
            environment["UNDER"] = " ".join(self.run_command())
            self.judge_as(client, client.command, environment)
        else:
            command = client.command if client.run is True else client.run
            self.judge_as(client, [*self.run_command(), *command], environment)

    def run_command(self):
        return [str(self.programs.build / "keyferry"), "run", "--integration", "demo", "--"]

    def judge_as(self, client, command, environment):
        url = client.url.format(path=client.slug)
        done = self.run_client([*command, url], environment)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertIn(client.answer, done.stdout)
        if "api.example.test" in client.url:
            [(path, fields)] = self.received()
            self.assertEqual(path, f"/{client.slug}")
            self.judge_fields(fields)

    def judge_fields(self, fields):
        self.assertEqual([v for n, v in fields if n == "authorization"], [self.credential])
        self.assertFalse([n for n, _ in fields if n.startswith(("proxy-", "x-zis"))], fields)
        self.assertNotIn(self.token, str(fields))

    def test_git_clones_and_pushes(self):
        work = self.directory
        identity = ["-c", "user.name=Ferry", "-c", "user.email=ferry@example.test"]
        url = "https://git.example.test/demo.git"
        self.run_all(
            ["git", "init", "--quiet", "--bare", "repositories/demo.git"],
            ["git", "-C", "repositories/demo.git", "config", "http.receivepack", "true"],
            ["git", "clone", "--quiet", url, "clone"],
            ["git", *identity, "-C", "clone", "commit", "--quiet", "--allow-empty", "-m", "a commit"],
            ["git", "-C", "clone", "push", "--quiet", "origin", "HEAD:main"],
            environment=self.environment(["GIT_SSL_CAINFO"]),
        )
        self.run_all(
            [*self.run_command(), "git", "clone", "--quiet", url, "clone-under-run"],
            environment=self.environment_of_run(),
        )
        log = ["git", "-C", str(work / "repositories/demo.git"), "log", "--format=%s", "main"]
        self.assertEqual(self.run_client(log, self.environment()).stdout, "a commit\n")

    def test_mercurial_clones_and_pushes(self):
        config = ["--config", f"web.cacerts={self.ca}", "--config", "ui.username=Ferry"]
        url = "https://hg.example.test/"
        self.run_all(
            ["hg", "init", "mercurial"],
            ["sh", "-c", "printf '[web]\nallow-push = *\npush_ssl = false\n' > mercurial/.hg/hgrc"],
        )
        self.run_all(
            ["hg", *config, "clone", "--quiet", url, "hg-clone"],
            ["sh", "-c", "echo one > hg-clone/file"],
            ["hg", *config, "-R", "hg-clone", "commit", "--quiet", "--addremove", "-m", "a commit"],
            ["hg", *config, "-R", "hg-clone", "push", "--quiet"],
        )
        log = ["hg", "-R", "mercurial", "log", "--template", "{desc}\n"]
        self.assertEqual(self.run_client(log, self.environment()).stdout, "a commit\n")
        self.run_all(
            [*self.run_command(), "hg", "clone", "--quiet", url, "hg-clone-2"],
            environment=self.environment_of_run(),
        )

    def test_apt_updates_and_downloads(self):
        """Against a repository of its own, with nothing of this machine's state."""
        for part in ("etc", "state/lists/partial", "cache/archives/partial"):
            (self.directory / "apt" / part).mkdir(parents=True)
        sources = "deb [trusted=yes] https://files.example.test/apt ./\n"
        (self.directory / "apt/etc/sources.list").write_text(sources)
        options = [
            f"Dir::State={self.directory}/apt/state", f"Dir::Cache={self.directory}/apt/cache",
            f"Dir::Etc={self.directory}/apt/etc", "Dir::State::status=/dev/null",
            "APT::Sandbox::User=", "APT::Update::Error-Mode=any", "Acquire::Retries=0",
        ]
        trusted = [*options, f"Acquire::https::CAInfo={self.ca}"]
        package = self.directory / "keyferry-demo_1.0.0_all.deb"
        for before, settings, environment in (
            ([], trusted, self.environment()),
            (self.run_command(), options, self.environment_of_run()),
        ):
            settings = [word for setting in settings for word in ("-o", setting)]
            for words in (["update"], ["download", origins.PACKAGE]):
                self.run_all([*before, "apt-get", *settings, *words], environment=environment)
            self.assertEqual(package.read_text(), "received")
            package.unlink()
            shutil.rmtree(self.directory / "apt/state/lists")
            (self.directory / "apt/state/lists/partial").mkdir(parents=True)

    def test_git_clones_and_pushes_by_base_url(self):
        identity = ["-c", "user.name=Ferry", "-c", "user.email=ferry@example.test"]
        url = f"http://x:{self.exact}@{self.proxy}/~/git/base.git"
        self.run_all(
            ["git", "init", "--quiet", "--bare", "repositories/base.git"],
            ["git", "-C", "repositories/base.git", "config", "http.receivepack", "true"],
            ["git", "clone", "--quiet", url, "clone-by-base-url"],
            ["git", *identity, "-C", "clone-by-base-url", "commit", "--quiet", "--allow-empty",
             "-m", "a commit"],
            ["git", "-C", "clone-by-base-url", "push", "--quiet", "origin", "HEAD:main"],
            environment={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
        )
        log = ["git", "-C", "repositories/base.git", "log", "--format=%s", "main"]
        self.assertEqual(self.run_client(log, self.environment()).stdout, "a commit\n")

    def test_octokit_reads_page_after_page_by_base_url(self):
        base = f"http://{self.proxy}/~/files"
        command = ["node", str(MATRIX / "octokit.mjs"), base, "/pages/items"]
        environment = {"PATH": os.environ["PATH"], "GITHUB_TOKEN": self.exact}
        done = self.run_client(command, environment)
        self.assertEqual((done.returncode, done.stdout), (0, "page 1, page 2, page 3\n"))

    def test_a_grpc_stream_on_which_nobody_speaks_is_cut(self):
        done = self.grpc_stream("grpc-hush").communicate(timeout=60)[0]
        said = re.fullmatch(r"[A-Z_]+ after (\S+) s\n", done)
        self.assertTrue(said, done)
        self.assertTrue(IDLE_SECONDS <= float(said[1]) < 5 * IDLE_SECONDS, done)

    def test_then_a_grpc_stream_has_come_whose_caller_was_silent_for_90_seconds(self):
        said, _ = self.stream.communicate(timeout=STREAM_SECONDS + 60)
        self.assertEqual(said, f"{STREAM_SECONDS} messages, the last {STREAM_SECONDS - 1}\n")

    @classmethod
    def grpc_stream(cls, name, query=""):
        """A client of a stream through the proxy whose idle timeout is short."""
        url = f"http://demo:{cls.token}@{cls.idle_proxy}"
        environment = {
            "PATH": os.environ["PATH"], "https_proxy": url,
            "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(cls.idle_ca),
        }
        client = subprocess.Popen(
            [*python(name), f"https://rpc.example.test:443{query}"], env=environment,
            cwd=cls.directory, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        cls.addClassCleanup(client.wait)
        cls.addClassCleanup(client.kill)
        return client

    def test_chromium_shows_a_page(self):
        anonymous = 'caller_auth = "none"\ndefault_integration = "demo"'
        proxy, api = self.serve("anonymous", anonymous)
        ca = self.directory / "anonymous-data/ca/cert.pem"
        home = self.directory / "chromium"
        nss = home / ".pki/nssdb"
        nss.mkdir(parents=True)
        for command in (
            ["certutil", "-d", f"sql:{nss}", "-N", "--empty-password"],
            ["certutil", "-d", f"sql:{nss}", "-A", "-t", "C,,", "-n", "keyferry", "-i", str(ca)],
        ):
            subprocess.run(command, check=True)
        command = [
            "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom",
            "--disable-dev-shm-usage", f"--proxy-server=http://{proxy}",
            f"--user-data-dir={home / 'profile'}", "https://api.example.test/chromium",
        ]
        done = self.run_client(command, {"PATH": os.environ["PATH"], "HOME": str(home)})
        self.assertIn("received", done.stdout)
        [fields] = [fields for path, fields in self.received() if path == "/chromium"]
        self.judge_fields(fields)

    def test_who_does_not_trust_the_ca_is_not_served(self):
        url = "https://api.example.test/untrusted"
        for command in (["curl", "-sS", url], [*python("requests"), url]):
            done = self.run_client(command, self.environment())
            self.assertNotEqual(done.returncode, 0)
            self.assertRegex(done.stdout.lower(), "certificate|self.signed|unknown ca")
        # Node looks at the certificate when the handshake is over; `keyferry run` sees that too.
        deaf = ["env", "-u", "NODE_EXTRA_CA_CERTS", *node("got"), url]
        for command, said in (
            (["curl", "-sS", "--cacert", "origin/ca.pem", url], "does not trust the proxy's CA"),
            (deaf, "seems not to trust the proxy's CA"),
        ):
            done = self.run_client([*self.run_command(), *command], self.environment_of_run())
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stdout)
        self.assertEqual(list(self.received()), [])

    def test_the_leaf_stands_up_to_strict_verifiers(self):
        host, _, _ = HOSTS[0].partition(":")
        shown = subprocess.run(
            ["openssl", "s_client", "-proxy", self.proxy, "-proxy_user", "demo", "-proxy_pass",
             "env:TOKEN", "-connect", f"{host}:443", "-servername", host, "-showcerts"],
            env={"PATH": os.environ["PATH"], "TOKEN": self.token}, input="", timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        leaf = re.search("-----BEGIN CERT.*?END CERTIFICATE-----\n", shown.stdout, re.DOTALL)
        self.assertTrue(leaf, shown.stdout)
        (self.directory / "leaf.pem").write_text(leaf[0])
        (self.directory / "chain.pem").write_text(leaf[0] + self.ca.read_text())
        for command in (
            ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname",
             host, "-CAfile", str(self.ca), "leaf.pem"],
            ["certtool", "--verify", "--verify-hostname", host, "--verify-purpose",
             "1.3.6.1.5.5.7.3.1", "--load-ca-certificate", str(self.ca), "--infile", "chain.pem"],
        ):
            done = self.run_client(command, self.environment())
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_the_table_in_the_docs_is_this_one(self):
        bare = lambda text: [row.split(" | ")[:1] + row.split(" | ")[2:] for row in text.splitlines()]
        self.assertEqual(bare(TABLE.read_text()), bare(table()), "run matrix.py with --write")


def claim(client):
    return lambda self: self.judge(client)


def claim_under_run(client):
    return lambda self: self.judge_under_run(client)


def version(client):
    """What was tried, as the client itself has it."""
    if not client.version:
        package = client.command[-1]
        if package in ("urllib", "strict"):
            return sys.version.split()[0]
        show = [sys.executable, "-c", f"import importlib.metadata as m; print(m.version('{DISTRIBUTIONS.get(package, package)}'))"]
        return subprocess.run(show, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    if client.version == "octokit":
        package = json.loads((HERE / "node_modules/@octokit/rest/package.json").read_text())
        return package["version"]
    done = subprocess.run(client.version.split(), stdout=subprocess.PIPE, text=True)
    return re.search(r"\d+(\.\d+)+", done.stdout)[0]


def table():
    rows = [
        "# Clients", "",
        "Each program was tried, unmodified, in an intercepted tunnel, with the proxy",
        "`http://INTEGRATION:TOKEN@HOST:PORT` and the CA of `keyferry ca export`",
        "([how](../how-to/http-proxy-programs.md)); and, except Chromium, under `keyferry run`, which sets",
        "both.",
        "", "| client | tried | the proxy | the CA | |", "|---|---|---|---|---|",
    ]
    for client in [*CLIENTS, *OTHERS]:
        rows.append(f"| {client.name} | {version(client)} | {client.proxy} | {client.trust} | {client.note} |")
    rows += [
        "", "## By base URL", "",
        "The base URL is [the proxy's](../how-to/sdks-by-base-url.md), and the caller token replaces the key.", "",
        "| client | tried | how | |", "|---|---|---|---|",
    ]
    rows += [f"| {c.name} | {version(c)} | {c.proxy} | {c.note} |" for c in BY_BASE_URL]
    return "\n".join(rows) + "\n"


DISTRIBUTIONS = {"grpc": "grpcio", "aiohttp-websocket": "aiohttp"}
PROGRAMS, NAMES = sys.argv[1], sys.argv[2:]

for known in CLIENTS:
    if not NAMES or known.slug in NAMES:
        slug = known.slug.replace("-", "_")
        setattr(Matrix, f"test_{slug}", claim(known))
        if known.run:
            setattr(Matrix, f"test_{slug}_under_run", claim_under_run(known))

if __name__ == "__main__":
    if NAMES == ["--write"]:
        TABLE.write_text(table())
    else:
        unittest.main(argv=sys.argv[:1], verbosity=2)
