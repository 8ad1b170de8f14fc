"""Origins that speak more than plain requests, over TLS on loopback: Git, Mercurial, WebSocket, gRPC,
and what package managers read.

Each answers only to the credential, so that a client that is served has had it set."""

import base64
import hashlib
import http.server
import io
import json
import os
import shutil
import ssl
import subprocess
import tarfile
import threading
from concurrent import futures
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import grpc
from websockets.sync.server import serve as serve_websockets

PACKAGE = "keyferry-demo"
PAGES = 3


class Cgi(http.server.BaseHTTPRequestHandler):
    """A CGI program, for callers that show the credential."""

    protocol_version = "HTTP/1.1"
    admits, program, variables = None, None, None

    def do_GET(self):
        if not self.admits(self.headers["Authorization"]):
            self.send_error(401)
            return
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"], "REQUEST_METHOD": self.command, "PATH_INFO": path,
            "QUERY_STRING": query, "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "REMOTE_USER": "ferry", "CONTENT_LENGTH": str(length), "SERVER_NAME": "origin",
            "SERVER_PORT": "443", "REQUEST_URI": self.path, "SCRIPT_NAME": "",
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in self.headers.items()},
            **self.variables(self.headers),
        }
        done = subprocess.run(
            self.program, env=environment, input=self.rfile.read(length), stdout=subprocess.PIPE,
            check=True,
        )
        head, _, body = done.stdout.replace(b"\r\n\r\n", b"\n\n", 1).partition(b"\n\n")
        fields = [line.split(": ", 1) for line in head.decode().splitlines()]
        status = [value for name, value in fields if name == "Status"] or ["200"]
        self.send_response(int(status[0].split()[0]))
        for name, value in fields:
            if name not in ("Status", "Content-Length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def serve(certificate, key, handler):
    """Serves over TLS on loopback; gives the port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def admission(credential):
    """The judgment of a shown `Authorization`: a function by itself, or the one that is right."""
    return credential if callable(credential) else lambda shown: shown == credential


def git(certificate, key, credential, root):
    """A server of the Git repositories below `root`, for those who show the credential, or what the
    function `credential` finds good; gives its port."""

    def variables(headers):
        return {
            "GIT_PROJECT_ROOT": str(root), "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_PROTOCOL": headers.get("Git-Protocol") or "",
        }

    members = {
        "admits": staticmethod(admission(credential)), "program": ["git", "http-backend"],
        "variables": staticmethod(variables),
    }
    return serve(certificate, key, type("Git", (Cgi,), members))


def mercurial(certificate, key, credential, root):
    """A server of the one Mercurial repository at `root`; gives its port."""
    program = (
        "from mercurial.hgweb import hgweb, wsgicgi; "
        f"wsgicgi.launch(hgweb({os.fsencode(root)!r}))"
    )
    # Its modules are those of the Python that it runs in.
    python = Path(shutil.which("hg")).read_text().splitlines()[0].removeprefix("#!").split()
    members = {
        "admits": staticmethod(admission(credential)), "program": [*python, "-c", program],
        "variables": staticmethod(lambda _: {"HGPLAIN": "1"}),
    }
    return serve(certificate, key, type("Mercurial", (Cgi,), members))


def files(certificate, key, credential, content):
    """A server of what `content` gives for a path and a query, each a body and its fields, likewise;
    gives its port."""
    admits = admission(credential)

    class Files(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            if not admits(self.headers["Authorization"]):
                self.send_error(401)
                return
            url = urlsplit(self.path)
            found = content(unquote(url.path), parse_qs(url.query))
            if found is None:
                self.send_error(404)
                return
            body, fields = found
            self.send_response(200)
            for name, value in {**fields, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    return serve(certificate, key, Files)


def published(host):
    """What `files` has at the paths of `host`: an npm registry with one package, an apt repository
    with one package, and an API in three pages."""
    tarball = npm_tarball()
    package = {
        "name": PACKAGE, "dist-tags": {"latest": "1.0.0"},
        "versions": {"1.0.0": {
            "name": PACKAGE, "version": "1.0.0", "dist": {
                "tarball": f"https://{host}/npm/{PACKAGE}/-/{PACKAGE}-1.0.0.tgz",
                "shasum": hashlib.sha1(tarball).hexdigest(),
                "integrity": f"sha512-{base64.b64encode(hashlib.sha512(tarball).digest()).decode()}",
            },
        }},
    }
    deb = b"received"
    packages = (
        f"Package: {PACKAGE}\nVersion: 1.0.0\nArchitecture: all\nMaintainer: Ferry\n"
        f"Filename: ./{PACKAGE}.deb\nSize: {len(deb)}\nSHA256: {hashlib.sha256(deb).hexdigest()}\n"
        "Description: a package\n"
    ).encode()
    release = f"SHA256:\n {hashlib.sha256(packages).hexdigest()} {len(packages)} Packages\n".encode()
    fixed = {
        f"/npm/{PACKAGE}": json.dumps(package).encode(),
        f"/npm/{PACKAGE}/-/{PACKAGE}-1.0.0.tgz": tarball,
        "/apt/./Release": release, "/apt/./Packages": packages, f"/apt/./{PACKAGE}.deb": deb,
    }

    def content(path, query):
        if path == "/pages/items":
            page = int(query.get("page", ["1"])[0])
            links = {"next": page + 1, "last": PAGES} if page < PAGES else {"first": 1}
            links = [
                f'<https://{host}/pages/items?per_page=1&page={number}>; rel="{name}"'
                for name, number in links.items()
            ]
            fields = {"Content-Type": "application/json", "Link": ", ".join(links)}
            return json.dumps([{"page": page}]).encode(), fields
        kind = "application/json" if path == f"/npm/{PACKAGE}" else "application/octet-stream"
        body = fixed.get(path)
        return None if body is None else (body, {"Content-Type": kind})

    return content


def npm_tarball():
    """The package, as a registry has it."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, text in (
            ("package.json", json.dumps({"name": PACKAGE, "version": "1.0.0"})),
            ("index.js", "received"),
        ):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return packed.getvalue()


def websocket(certificate, key, credential):
    """A server that echoes; gives its port."""

    def echo(socket):
        for message in socket:
            socket.send(message)

    def admit(_conn, request):
        if request.headers.get("Authorization") != credential:
            raise PermissionError("the credential is missing")

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = serve_websockets(echo, "127.0.0.1", 0, ssl=context, process_request=admit)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.socket.getsockname()[1]


def rpc(certificate, key, credential):
    """A gRPC server that echoes, sends by itself, or says nothing; gives its port."""

    def admit(context):
        if dict(context.invocation_metadata()).get("authorization") != credential:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the credential is missing")

    def say(text, context):
        admit(context)
        return text

    def count(messages, context):
        """Sends a number each second, as many as the first message says; then hears no more."""
        admit(context)
        gone = threading.Event()
        context.add_callback(gone.set)
        for number in range(int(next(messages))):
            if gone.wait(1):
                return
            yield str(number).encode()

    def hush(messages, context):
        """Takes what comes, and never answers."""
        admit(context)
        for _ in messages:
            pass
        yield from ()

    handlers = {
        "Say": grpc.unary_unary_rpc_method_handler(say),
        "Count": grpc.stream_stream_rpc_method_handler(count),
        "Hush": grpc.stream_stream_rpc_method_handler(hush),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("echo.Echo", handlers)]
    )
    pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    return port, server
