"""The rows of the client matrix: how each client is started, and how it is told of the proxy."""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

MATRIX = Path(__file__).resolve().parent / "matrix"
BIN = MATRIX.parent / "node_modules" / ".bin"


INSIDE = "inside"


@dataclass
class Client:
    """A client, how it is told of the proxy and what it trusts; `CA` stands for the file.

    Each of `variables` is set to the CA's file, or with `=PROXY` to the proxy's URL. `run` is the
    command under `keyferry run`, where that sets all of it: `True` for the same one, `INSIDE` where
    that starts `keyferry run` itself (by UNDER in its environment), `False` where it can't."""

    name: str
    command: list
    proxy: str
    trust: str
    note: str = ""
    variables: tuple = ()
    url: str = "https://api.example.test/{path}"
    answer: str = "received"
    version: str = ""
    run: object = True

    @property
    def slug(self):
        return re.sub("[^a-z0-9]+", "-", self.name.lower())


def python(name):
    return [sys.executable, str(MATRIX / "python.py"), name]


def node(name):
    return ["node", str(MATRIX / "client.mjs"), name]


def packages(name):
    return [sys.executable, str(MATRIX / "packages.py"), name]


def php(name):
    return [str(MATRIX / "client.php"), name]


DENO = str(BIN / "deno")
YARN_1 = MATRIX.parent / "node_modules/yarn/bin/yarn.js"
YARN_4 = MATRIX.parent / "node_modules/@yarnpkg/cli-dist/bin/yarn.js"
CAFILE = "overrides an npmrc's `cafile`, which overrides `NODE_EXTRA_CA_CERTS`"
FILES = "https://files.example.test/npm/"
ENVIRONMENT = "`https_proxy`"
CLIENTS = [
    Client("curl, HTTP/1.1", ["curl", "-sS", "--fail", "--http1.1"], ENVIRONMENT,
           "`CURL_CA_BUNDLE`", variables=("CURL_CA_BUNDLE",), version="curl --version"),
    Client("curl, HTTP/2", ["curl", "-sS", "--fail", "--http2"], ENVIRONMENT,
           "`CURL_CA_BUNDLE`", variables=("CURL_CA_BUNDLE",), version="curl --version"),
    Client("wget", ["wget", "-qO-", "--ca-certificate=CA"], ENVIRONMENT, "`--ca-certificate`",
           version="wget --version", run=["wget", "-qO-"]),
    Client("Python requests", python("requests"), ENVIRONMENT, "`REQUESTS_CA_BUNDLE`",
           variables=("REQUESTS_CA_BUNDLE",)),
    Client("Python httpx, HTTP/2", python("httpx"), ENVIRONMENT, "`SSL_CERT_FILE`",
           variables=("SSL_CERT_FILE",)),
    Client("Python aiohttp", python("aiohttp"), ENVIRONMENT, "`SSL_CERT_FILE`",
           "`ClientSession(trust_env=True)`", ("SSL_CERT_FILE",)),
    Client("Python aiohttp, WebSocket", python("aiohttp-websocket"), "`wss_proxy`",
           "`SSL_CERT_FILE`", "`ClientSession(trust_env=True)`; for `wss://` it reads no other variable",
           ("SSL_CERT_FILE", "wss_proxy=PROXY"), url="https://ws.example.test/{path}",
           answer="hello"),
    Client("Python httplib2", python("httplib2"), ENVIRONMENT, "`HTTPLIB2_CA_CERTS`",
           "without PySocks it uses no proxy", ("HTTPLIB2_CA_CERTS",)),
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
    Client("Deno fetch", [DENO, "run", "--quiet", "--allow-net", str(MATRIX / "client.deno.ts")],
           ENVIRONMENT, "`DENO_CERT`", variables=("DENO_CERT",), version=f"{DENO} --version"),
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
           version="java --version", run=["java", str(MATRIX / "Client.java")]),
    Client("Ruby Net::HTTP", ["ruby", str(MATRIX / "client.rb")], "`http_proxy`",
           "`SSL_CERT_FILE`", "for `https://` too it reads `http_proxy`", ("SSL_CERT_FILE",),
           version="ruby --version"),
    Client("Perl LWP", ["perl", str(MATRIX / "client.pl")], ENVIRONMENT, "`PERL_LWP_SSL_CA_FILE`",
           "`env_proxy => 1`", ("PERL_LWP_SSL_CA_FILE",), version="perl --version"),
    Client("PHP curl", ["php", "-d", "curl.cainfo=CA", *php("curl")], ENVIRONMENT,
           "`curl.cainfo`", "`PHP_INI_SCAN_DIR` names a directory with such settings",
           version="php --version", run=["php", *php("curl")]),
    Client("PHP streams", ["php", "-d", "openssl.cafile=CA", *php("streams")],
           "a stream context", "`openssl.cafile`", "reads no variables of its own",
           version="php --version", run=["php", *php("streams")]),
    Client("npm", packages("npm"), ENVIRONMENT, "`npm_config_cafile`", CAFILE,
           ("npm_config_cafile",), url=FILES, version="npm --version", run=INSIDE),
    Client("pnpm", packages("pnpm"), ENVIRONMENT, "`npm_config_cafile`", CAFILE,
           ("npm_config_cafile",), url=FILES, version=f"{BIN}/pnpm --version", run=INSIDE),
    Client("Yarn 1", packages("yarn-1"), ENVIRONMENT, "`npm_config_cafile`", CAFILE,
           ("npm_config_cafile",), url=FILES, version=f"node {YARN_1} --version",
           run=INSIDE),
    Client("Yarn 4", packages("yarn-4"), "`YARN_HTTPS_PROXY`", "`YARN_HTTPS_CA_FILE_PATH`",
           "overrides `httpsCaFilePath` in `.yarnrc.yml`; without that `NODE_EXTRA_CA_CERTS` will do",
           ("YARN_HTTPS_CA_FILE_PATH", "YARN_HTTPS_PROXY=PROXY"), url=FILES,
           version=f"node {YARN_4} --version", run=INSIDE),
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
    Client("hg clone and push", [], "`http_proxy`", "`--config web.cacerts=…`",
           "for `https://` too it reads `http_proxy`", version="hg --version"),
    Client("apt-get", [], ENVIRONMENT, "`-o Acquire::https::CAInfo=…`",
           version="apt-get --version"),
    Client("Chromium, headless", [], "`--proxy-server`", "NSS: `certutil -A -t C,,`",
           "has no place for a token: `proxy.caller_auth = \"none\"`",
           version="chromium --version"),
]
# Without a tunnel: the URL of the proxy takes the place of the API's, and the token that of its key.
BY_BASE_URL = [
    Client("git clone and push", [], "`http://x:TOKEN@HOST:PORT/~/NAME/…`", "",
           version="git --version"),
    Client("Octokit, page after page", [], "`baseUrl: http://HOST:PORT/~/NAME`, `auth: TOKEN`", "",
           "`paginate` follows `Link`", version="octokit"),
]
