#!/usr/bin/env python3
"""Runs one action of a ZIS bundle through Keyferry.

`flow.py BUNDLE ACTION --input FILE` prints the action's result as JSON. What goes wrong is a
sentence on standard error, and the exit code is 1; for wrong usage it is 2.
"""

import argparse
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from action import find, prepare
from gateway import Gateway
from values import Failure, written

TOKEN = re.compile(r"kf_[A-Za-z0-9_-]{43}")
# What begins like a caller token is not repeated, be it a whole one or not.
LIKE_TOKEN = re.compile(r"kf_[A-Za-z0-9_-]+")


def complain(message: str) -> None:
    """Says what is wrong, on one line and without a token."""
    line = " ".join(LIKE_TOKEN.sub("kf_…", message).split())
    print(f"flow.py: {line}", file=sys.stderr)


class Arguments(argparse.ArgumentParser):
    """What argparse says of wrong usage repeats what was typed, and that may be a token."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        complain(message)
        sys.exit(2)


def arguments() -> Arguments:
    parser = Arguments(
        prog="flow.py", allow_abbrev=False,
        description="Runs one ZIS::Action::Http of a bundle through Keyferry.",
        epilog="The caller token is in --token-file, or in KEYFERRY_TOKEN.",
    )
    parser.add_argument("bundle", type=Path, help="the bundle, a JSON file")
    parser.add_argument("action", help="an action's name, or zis:INTEGRATION:action:NAME")
    parser.add_argument("--input", metavar="FILE", help="the action's inputs as JSON; - is stdin")
    parser.add_argument("--proxy", metavar="URL", type=proxy, default="http://127.0.0.1:8080")
    parser.add_argument("--token-file", metavar="FILE", type=Path)
    parser.add_argument("--subdomain", type=label, help="the account's, for actions with a path")
    parser.add_argument("--timeout", metavar="SECONDS", type=seconds, default=10.0)
    parser.add_argument("--max-bytes", metavar="N", type=count, default=2 * 1024 * 1024)
    return parser


def proxy(typed: str) -> str:
    parts = urlsplit(typed)
    plain = parts.scheme in ("http", "https") and parts.path in ("", "/")
    # `port` complains of what is no number by itself.
    if not plain or not parts.hostname or "@" in parts.netloc or parts.query or parts.port == 0:
        raise argparse.ArgumentTypeError("must be http://HOST:PORT, and without a user")
    return f"{parts.scheme}://{parts.netloc}"


def label(typed: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?", typed):
        raise argparse.ArgumentTypeError("must be one label, without .zendesk.com")
    return typed


def seconds(typed: str) -> float:
    if not 0 < (value := float(typed)) <= 3600:
        raise argparse.ArgumentTypeError("must be more than 0, and an hour at most")
    return value


def count(typed: str) -> int:
    if (value := int(typed)) < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def token(file: Path | None) -> str:
    found = read(file, "token file").decode("ascii", "replace") if file else None
    if found is None:
        found = os.environ.get("KEYFERRY_TOKEN", "")
    if not TOKEN.fullmatch(found := found.strip()):
        raise Failure("The token is not a caller token of Keyferry: kf_ and 43 characters.")
    return found


def read(file: Path, what: str) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "not a path"
        raise Failure(f"The {what} can't be read: {why}.") from None


def parse(content: bytes, what: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        where = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Failure(f"The {what} is not JSON{where}.") from None


def run(given: argparse.Namespace) -> Any:
    integration, definition = find(parse(read(given.bundle, "bundle"), "bundle"), given.action)
    inputs: Any = {}
    if given.input == "-":
        inputs = parse(sys.stdin.buffer.read(), "input")
    elif given.input is not None:
        inputs = parse(read(Path(given.input), "input"), "input")
    try:
        request = prepare(definition, inputs, integration, given.subdomain)
    except (UnicodeEncodeError, RecursionError):
        raise Failure("The action or its input holds text that can't be sent.") from None
    gateway = Gateway(given.proxy, token(given.token_file), given.timeout, given.max_bytes)
    return gateway.send(request)


def main() -> int:
    parser = arguments()
    given = parser.parse_args()
    if not given.token_file and "KEYFERRY_TOKEN" not in os.environ:
        parser.error("a token is needed: --token-file FILE, or KEYFERRY_TOKEN")
    try:
        result = run(given)
    except Failure as failure:
        complain(str(failure))
        return 1
    # Half a surrogate pair has no UTF-8; what stands for it is its escape in JSON.
    sys.stdout.buffer.write(written(result).encode("utf-8", "backslashreplace") + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
