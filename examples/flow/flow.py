#!/usr/bin/env python3
"""Runs one `ZIS::Action::Http` of a bundle, through Keyferry, by the name of its connection.

    flow.py BUNDLE ACTION [--input FILE] [--proxy URL] [--token-file FILE] [--subdomain NAME]

The inputs are a JSON value, read from FILE or standard input (`-`); without any they are empty. The
result is printed as JSON. The runner holds no secret of any API: the action names a connection,
and Keyferry sets its credential. What the runner shows is its own access token, from a file or
KEYFERRY_TOKEN.
"""

import argparse
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from action import Request, find, prepare
from values import Failure

# What the service's own executor allows.
SECONDS = 10.0
LARGEST = 2_000_000
PIECE = 65_536


def main() -> int:
    arguments = parse()
    try:
        bundle = read(arguments.bundle)
        inputs = read(arguments.input) if arguments.input else {}
        integration, definition = find(bundle, arguments.action)
        request = prepare(definition, inputs, integration, arguments.subdomain)
        result = send(request, arguments.proxy, token(arguments.token_file), arguments.timeout)
    except Failure as failure:
        print(f"flow: {failure}", file=sys.stderr)
        return 1
    print(json.dumps(result, ensure_ascii=False))
    return 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Runs one HTTP action of a ZIS bundle.")
    parser.add_argument("bundle", help="the bundle, a JSON file")
    parser.add_argument("action", help="the action's name, or zis:INTEGRATION:action:NAME")
    parser.add_argument("--input", metavar="FILE", help="the action's inputs as JSON; - is stdin")
    parser.add_argument("--proxy", metavar="URL", default="http://127.0.0.1:8080")
    parser.add_argument("--token-file", metavar="FILE", help="in place of KEYFERRY_TOKEN")
    parser.add_argument("--subdomain", metavar="NAME", help="the account, for actions with a path")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, default=SECONDS)
    return parser.parse_args()


def read(name: str) -> Any:
    """The JSON of a file, or of standard input."""
    try:
        content = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
        return json.loads(content)
    except OSError as error:
        raise Failure(f"{name} can't be read: {error.strerror}") from None
    except ValueError:
        raise Failure(f"{name} is no JSON.") from None


def token(file: str | None) -> str:
    """The runner's access token. It is shown to the proxy and to nobody else."""
    try:
        found = Path(file).read_text().strip() if file else os.environ.get("KEYFERRY_TOKEN", "")
    except OSError as error:
        raise Failure(f"{file} can't be read: {error.strerror}") from None
    if not found:
        raise Failure("There is no access token: set KEYFERRY_TOKEN, or name a --token-file.")
    return found


def send(request: Request, proxy: str, access_token: str, seconds: float) -> Any:
    """Sends the request in gateway form, and gives what the flow gets of the answer."""
    deadline = time.monotonic() + seconds
    where = urlsplit(proxy)
    if where.scheme not in ("http", "https") or not where.hostname:
        raise Failure(f"{proxy} is no proxy: use http://HOST:PORT.")
    kind = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    conn = kind(where.hostname, where.port, timeout=seconds)
    try:
        conn.putrequest(request.method, request.target, skip_accept_encoding=True)
        for name, value in (*request.fields, *tags(request, access_token)):
            conn.putheader(name, value.encode())
        if request.body is not None:
            conn.putheader("Content-Length", str(len(request.body)))
        conn.endheaders(request.body)
        answer = conn.getresponse()
        body = collect(answer, conn, deadline)
    except TimeoutError:
        raise Failure(f"The action took longer than {seconds:g} seconds.") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"The proxy at {where.netloc} can't be asked: {error}") from None
    finally:
        conn.close()
    return judge(request, answer, body)


def tags(request: Request, access_token: str) -> list[tuple[str, str]]:
    """What tells Keyferry who asks, for which connection, and where to."""
    fields = [
        ("Proxy-Authorization", f"Bearer {access_token}"),
        ("X-Zis-Connection", request.connection),
        ("X-Zis-Host", request.host),
    ]
    return fields + ([("X-Zis-Integration", request.integration)] if request.integration else [])


def collect(answer: http.client.HTTPResponse, conn: http.client.HTTPConnection, deadline: float):
    """The body, if it comes in time and is no larger than a flow takes."""
    body = b""
    while len(body) <= LARGEST:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if conn.sock:
            conn.sock.settimeout(left)
        piece = answer.read1(PIECE)
        if not piece:
            return body
        body += piece
    raise Failure("The response payload is larger than 2mb.")


def judge(request: Request, answer: http.client.HTTPResponse, body: bytes) -> Any:
    """A refusal of Keyferry's, a failure of the origin's, or the result."""
    if "keyferry" in (answer.headers.get("Proxy-Status") or ""):
        raise Failure(refusal(request, body))
    if not 200 <= answer.status < 300:
        raise Failure(f"external action failed due to status code: {answer.status}")
    text = body.decode("utf-8", "replace")
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {"__httpresponse": text}


def refusal(request: Request, body: bytes) -> str:
    """What Keyferry says, in the words that flows know where there are such."""
    try:
        error = json.loads(body)["errors"][0]
        code, title = str(error["code"]), str(error["title"])
    except (ValueError, LookupError, TypeError):
        return "The proxy refused the request and did not say why."
    if code == "ConnectionNotFound":
        name = request.connection
        return f'Cannot start flow because the connection named "{name}" does not exist'
    return f"{code}: {title}"


if __name__ == "__main__":
    sys.exit(main())
