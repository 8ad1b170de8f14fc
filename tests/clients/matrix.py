"""The client matrix: real clients, unmodified, through CONNECT and the interception CA.

`matrix.py PROGRAMS [NAMES…]` starts an origin and the proxy out of the directory PROGRAMS, and
runs each client in a process and an environment of its own, with the proxy and the CA set as its
users set them. What the origin has received must have the credential, which the client never had.
The table in docs/CLIENTS.md is made of the same rows: `matrix.py PROGRAMS --write` writes it.
"""

import os
import re
import secrets
import subprocess
import sys
import tempfile
import unittest
from dataclasses import dataclass
from pathlib import Path

import origins
from programs import Programs

HERE = Path(__file__).resolve().parent
MATRIX = HERE / "matrix"
TABLE = HERE.parent.parent / "docs" / "CLIENTS.md"
HOSTS = ["api.example.test", "git.example.test", "ws.example.test", "rpc.example.test"]
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
[[tokens]]
name = "runner"
integration = "demo"
scopes = ["proxy"]
token = {{ file = "token" }}
"""


@dataclass
class Client:
    """A client, how it is told of the proxy and what it trusts; `CA` stands for the file."""

    name: str
    command: list
    proxy: str
    trust: str
    note: str = ""
    variables: tuple = ()
    url: str = "https://api.example.test/{path}"
    answer: str = "received"
    version: str = ""

    @property
    def slug(self):
        return re.sub("[^a-z0-9]+", "-", self.name.lower())


def python(name):
    return [sys.executable, str(MATRIX / "python.py"), name]


def node(name):
    return ["node", str(MATRIX / "client.mjs"), name]


ENVIRONMENT = "`https_proxy`"
CLIENTS = [
    Client("curl, HTTP/1.1", ["curl", "-sS", "--fail", "--http1.1"], ENVIRONMENT,
           "`CURL_CA_BUNDLE`", variables=("CURL_CA_BUNDLE",), version="curl --version"),
    Client("curl, HTTP/2", ["curl", "-sS", "--fail", "--http2"], ENVIRONMENT,
           "`CURL_CA_BUNDLE`", variables=("CURL_CA_BUNDLE",), version="curl --version"),
    Client("wget", ["wget", "-qO-", "--ca-certificate=CA"], ENVIRONMENT, "`--ca-certificate`",
           version="wget --version"),
    Client("Python requests", python("requests"), ENVIRONMENT, "`REQUESTS_CA_BUNDLE`",
           variables=("REQUESTS_CA_BUNDLE",)),
    Client("Python httpx, HTTP/2", python("httpx"), ENVIRONMENT, "`SSL_CERT_FILE`",
           variables=("SSL_CERT_FILE",)),
    Client("Python aiohttp", python("aiohttp"), ENVIRONMENT, "`SSL_CERT_FILE`",
           "`ClientSession(trust_env=True)`", ("SSL_CERT_FILE",)),
    Client("Python urllib3", python("urllib3"), "`ProxyManager(…)`", "`ca_certs=…`",
           "reads no variables of its own", ("SSL_CERT_FILE",)),
    Client("Python urllib", python("urllib"), ENVIRONMENT, "`SSL_CERT_FILE`",
           variables=("SSL_CERT_FILE",)),
    Client("Python, strict verification", python("strict"), ENVIRONMENT, "`SSL_CERT_FILE`",
           "`VERIFY_X509_STRICT`, the default from 3.13 on", ("SSL_CERT_FILE",)),
    Client("Node fetch (undici)", node("undici"), "`EnvHttpProxyAgent`", "`NODE_EXTRA_CA_CERTS`",
           "Node 24 does without the agent, with `NODE_USE_ENV_PROXY=1`",
           ("NODE_EXTRA_CA_CERTS",), version="node --version"),
    Client("Node axios", node("axios"), "`https-proxy-agent`", "`NODE_EXTRA_CA_CERTS`",
           "without the agent it sends absolute-form, which works as well",
           ("NODE_EXTRA_CA_CERTS",), version="node --version"),
    Client("Node got", node("got"), "`https-proxy-agent`", "`NODE_EXTRA_CA_CERTS`",
           variables=("NODE_EXTRA_CA_CERTS",), version="node --version"),
    Client("Go net/http", ["go", "run", str(MATRIX / "client.go")], ENVIRONMENT,
           "`SSL_CERT_FILE`", variables=("SSL_CERT_FILE",), version="go version"),
    Client("Java HttpClient",
           ["java", "-Djdk.http.auth.tunneling.disabledSchemes=",
            "-Djavax.net.ssl.trustStore=trust.jks", "-Djavax.net.ssl.trustStorePassword=changeit",
            "-Dhttps.proxyHost=PROXY_HOST", "-Dhttps.proxyPort=PROXY_PORT",
            str(MATRIX / "Client.java")],
           "`-Dhttps.proxyHost`, `-Dhttps.proxyPort`, an `Authenticator`",
           "`-Djavax.net.ssl.trustStore`",
           "Basic over a tunnel needs `-Djdk.http.auth.tunneling.disabledSchemes=`",
           version="java --version"),
    Client("Ruby Net::HTTP", ["ruby", str(MATRIX / "client.rb")], "`http_proxy`",
           "`SSL_CERT_FILE`", "for `https://` too it reads `http_proxy`", ("SSL_CERT_FILE",),
           version="ruby --version"),
    Client("Perl LWP", ["perl", str(MATRIX / "client.pl")], ENVIRONMENT, "`PERL_LWP_SSL_CA_FILE`",
           "`env_proxy => 1`", ("PERL_LWP_SSL_CA_FILE",), version="perl --version"),
    Client("WebSocket (Python websockets)", python("websockets"), ENVIRONMENT, "`SSL_CERT_FILE`",
           variables=("SSL_CERT_FILE",), url="https://ws.example.test/{path}", answer="hello"),
    Client("gRPC (Python grpcio)", python("grpc"), ENVIRONMENT,
           "`GRPC_DEFAULT_SSL_ROOTS_FILE_PATH`", "HTTP/2 to the origin too",
           ("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",), url="https://rpc.example.test:443",
           answer="hello"),
]
# Rows whose tests are their own.
OTHERS = [
    Client("git clone and push", [], ENVIRONMENT, "`GIT_SSL_CAINFO`", version="git --version"),
    Client("Chromium, headless", [], "`--proxy-server`", "NSS: `certutil -A -t C,,`",
           "has no place for a token: `proxy.caller_auth = \"none\"`",
           version="chromium --version"),
]


class Matrix(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        programs = Programs(PROGRAMS, directory.name)
        cls.programs, cls.directory, cls.judged = programs, programs.directory, 0
        cls.addClassCleanup(programs.stop)
        cls.secret, cls.token = secrets.token_urlsafe(24), programs.run("keyferry", "token", "generate")
        for name, content in (("secret", cls.secret), ("token", cls.token)):
            (cls.directory / name).touch(0o600)
            (cls.directory / name).write_text(content)
        said = programs.start(["examples/origin", "origin", *HOSTS], r"address (\S+)\nca ")
        cls.credential = f"Bearer {cls.secret}"
        pair = [cls.directory / "origin/leaf.pem", cls.directory / "origin/leaf.key"]
        repositories = cls.directory / "repositories"
        port, cls.server = origins.rpc(*pair, cls.credential)
        ports = [
            said[1].rpartition(":")[2], origins.git(*pair, cls.credential, repositories),
            origins.websocket(*pair, cls.credential), port,
        ]
        pins = [f'"{host}:443" = "127.0.0.1:{port}"' for host, port in zip(HOSTS, ports)]
        cls.pins = "\n".join(pins)
        cls.proxy, api = cls.serve("tokens", "")
        ca = subprocess.run(["curl", "-sS", "--fail", f"{api}/ca.pem"], check=True, stdout=subprocess.PIPE)
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
            **{name: str(self.ca) for name in variables},
        }

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

    def judge(self, client):
        host, port = self.proxy.split(":")
        stands = {"CA": str(self.ca), "PROXY_HOST": host, "PROXY_PORT": port}
        command = [
            re.sub("CA$|PROXY_HOST|PROXY_PORT", lambda found: stands[found[0]], part)
            for part in client.command
        ]
        url = client.url.format(path=client.slug)
        done = self.run_client([*command, url], self.environment(client.variables))
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
        for command in (
            ["git", "init", "--quiet", "--bare", "repositories/demo.git"],
            ["git", "-C", "repositories/demo.git", "config", "http.receivepack", "true"],
            ["git", "clone", "--quiet", "https://git.example.test/demo.git", "clone"],
            ["git", *identity, "-C", "clone", "commit", "--quiet", "--allow-empty", "-m", "a commit"],
            ["git", "-C", "clone", "push", "--quiet", "origin", "HEAD:main"],
        ):
            done = self.run_client(command, self.environment(["GIT_SSL_CAINFO"]))
            self.assertEqual(done.returncode, 0, done.stdout)
        log = ["git", "-C", str(work / "repositories/demo.git"), "log", "--format=%s", "main"]
        self.assertEqual(self.run_client(log, self.environment()).stdout, "a commit\n")

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


def version(client):
    """What was tried, as the client itself has it."""
    if not client.version:
        package = client.command[-1]
        if package in ("urllib", "strict"):
            return sys.version.split()[0]
        show = [sys.executable, "-c", f"import importlib.metadata as m; print(m.version('{'grpcio' if package == 'grpc' else package}'))"]
        return subprocess.run(show, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
    done = subprocess.run(client.version.split(), stdout=subprocess.PIPE, text=True)
    return re.search(r"\d+(\.\d+)+", done.stdout)[0]


def table():
    rows = [
        "# Clients", "",
        "Programs that were tried, unmodified, through an intercepted tunnel: the origin got the credential, and they never had it. The proxy is",
        "`http://INTEGRATION:TOKEN@HOST:PORT`, the CA what `keyferry ca export` prints ([Interception](INTERCEPTION.md)). `keyferry run` sets all of it. A test makes this table.",
        "", "| client | tried | the proxy | the CA | |", "|---|---|---|---|---|",
    ]
    for client in [*CLIENTS, *OTHERS]:
        rows.append(f"| {client.name} | {version(client)} | {client.proxy} | {client.trust} | {client.note} |")
    return "\n".join(rows) + "\n"


PROGRAMS, NAMES = sys.argv[1], sys.argv[2:]

for known in CLIENTS:
    if not NAMES or known.slug in NAMES:
        setattr(Matrix, f"test_{known.slug.replace('-', '_')}", claim(known))

if __name__ == "__main__":
    if NAMES == ["--write"]:
        TABLE.write_text(table())
    else:
        unittest.main(argv=sys.argv[:1], verbosity=2)
