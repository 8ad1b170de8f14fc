"""Sends a request through Keyferry in gateway form, and reads what comes back."""

import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from action import Request
from values import Failure

QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


@dataclass(frozen=True)
class Gateway:
    """Where Keyferry listens, the caller token, and how long and how much to read."""

    proxy: str
    token: str = field(repr=False)
    timeout: float
    max_bytes: int

    def send(self, request: Request) -> Any:
        """The result of the action: a JSON body, or `{"__httpresponse": TEXT}`."""
        with self.conversation() as conn:
            conn.putrequest(request.method, request.target, skip_accept_encoding=True)
            conn.putheader("Proxy-Authorization", f"Bearer {self.token}")
            conn.putheader("X-Zis-Connection", request.connection.encode())
            conn.putheader("X-Zis-Host", request.host)
            if request.integration:
                conn.putheader("X-Zis-Integration", request.integration.encode())
            for name, value in request.fields:
                conn.putheader(name, value.encode())
            if request.body is not None:
                conn.putheader("Content-Length", str(len(request.body)))
            try:
                conn.endheaders(request.body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # Who refuses may answer before it has read the whole body.
            response = conn.getresponse()
            refused = is_refusal(response)
            # What an origin says of a failure is not the action's result, whatever its size.
            if not refused and not 200 <= response.status < 300:
                raise Failure(f"external action failed due to status code: {response.status}")
            body = self.read(response)
        if refused:
            raise Failure(refusal(request, body))
        return result(response, body)

    @contextmanager
    def conversation(self) -> Iterator[http.client.HTTPConnection]:
        """A conn to Keyferry that is cut when the time is over, however slowly bytes still come."""
        proxy = urlsplit(self.proxy)
        kind = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
        conn = kind[proxy.scheme](proxy.hostname, proxy.port, timeout=self.timeout)
        start, over = time.monotonic(), threading.Event()
        try:
            conn.connect()
        except TimeoutError:
            raise self.too_late() from None
        except ssl.SSLError:
            raise Failure("Keyferry's certificate is not trusted, or TLS failed.") from None
        except OSError as error:
            why = error.strerror or "no address"
            raise Failure(f"Keyferry can't be reached at {self.proxy}: {why}.") from None
        sock = conn.sock

        def cut() -> None:
            over.set()
            try:
                # Below TLS: its own shutdown would wait for the thread that reads.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)
            except OSError:
                pass  # It was over already.

        timer = threading.Timer(max(0, self.timeout - (time.monotonic() - start)), cut)
        timer.daemon = True
        timer.start()
        try:
            yield conn
        except (OSError, http.client.HTTPException) as error:
            if over.is_set() or isinstance(error, TimeoutError):
                raise self.too_late() from None
            raise Failure("The conn to Keyferry broke off before the whole answer.") from None
        finally:
            timer.cancel()
            conn.close()
        if over.is_set():
            raise self.too_late()

    def too_late(self) -> Failure:
        return Failure(f"external action timed out after {self.timeout:g} s")

    def read(self, response: http.client.HTTPResponse) -> bytes:
        """The body; one byte more than the limit is enough to know that it is too large."""
        body = response.read(self.max_bytes + 1)
        if len(body) > self.max_bytes:
            megabytes = self.max_bytes / (1024 * 1024)
            raise Failure(f"payload is larger than {megabytes:g}mb")
        # A read with a limit does not complain of a body that ends early.
        if response.length:
            raise http.client.IncompleteRead(body)
        return body


def result(response: http.client.HTTPResponse, body: bytes) -> Any:
    coding = response.getheader("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise Failure("The answer is compressed, which the action must not ask for.")
    kind = response.headers.get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(body, parse_constant=reject)
        except (ValueError, RecursionError):
            pass  # It says that it is JSON and is not: it is given as text.
    try:
        told = body.decode(response.headers.get_content_charset("utf-8"), "replace")
    except LookupError:
        told = body.decode("utf-8", "replace")
    return {"__httpresponse": told}


def reject(constant: str) -> None:
    raise ValueError(constant)


def is_refusal(response: http.client.HTTPResponse) -> bool:
    """Whether Keyferry itself answers: it alone may have a member `keyferry` in Proxy-Status."""
    status = ",".join(response.headers.get_all("Proxy-Status", []))
    members = QUOTED.sub("", status).split(",")
    return any(member.partition(";")[0].strip() == "keyferry" for member in members)


def refusal(request: Request, body: bytes) -> str:
    try:
        error = json.loads(body)["errors"][0]
        code, title = str(error["code"]), str(error["title"])
    except (ValueError, LookupError, TypeError):
        return "Keyferry refused the request and did not say why."
    if code == "ConnectionNotFound":
        # As the service words it.
        name = request.connection
        return f'Cannot start flow because the connection named "{name}" does not exist'
    return f"Keyferry refused the request ({code}): {title}"
