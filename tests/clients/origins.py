"""Origins that speak more than plain requests: Git, WebSocket and gRPC, over TLS on loopback.

Each answers only to the credential, so that a client that is served has had it set."""

import http.server
import os
import ssl
import subprocess
import threading
from concurrent import futures
from pathlib import Path

import grpc
from websockets.sync.server import serve as serve_websockets


class Git(http.server.BaseHTTPRequestHandler):
    """Git's own CGI program, for whoever shows the credential."""

    protocol_version = "HTTP/1.1"
    credential, root = None, None

    def do_GET(self):
        if self.headers["Authorization"] != self.credential:
            self.send_error(401)
            return
        length = int(self.headers.get("Content-Length") or 0)
        path, _, query = self.path.partition("?")
        environment = {
            "PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.root, "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command, "PATH_INFO": path, "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "", "REMOTE_USER": "ferry",
            "CONTENT_LENGTH": str(length), "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding") or "",
        }
        done = subprocess.run(
            ["git", "http-backend"], env=environment, input=self.rfile.read(length),
            stdout=subprocess.PIPE, check=True,
        )
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = [line.split(": ", 1) for line in head.decode().split("\r\n")]
        status = [value for name, value in fields if name == "Status"] or ["200"]
        self.send_response(int(status[0].split()[0]))
        for name, value in fields:
            if name != "Status":
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def git(certificate, key, credential, root):
    """A server of the repositories below `root`; gives its port."""
    handler = type("Handler", (Git,), {"credential": credential, "root": str(root)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


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
    """A gRPC server that echoes; gives its port."""

    def say(text, context):
        if dict(context.invocation_metadata()).get("authorization") != credential:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "the credential is missing")
        return text

    handler = grpc.unary_unary_rpc_method_handler(say)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("echo.Echo", {"Say": handler})]
    )
    pair = (Path(key).read_bytes(), Path(certificate).read_bytes())
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
    server.start()
    return port, server
