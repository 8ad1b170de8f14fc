#!/usr/bin/env python3
"""Calls an API through Keyferry and tells Keyferry's own answers from the API's.

`runner.py CONNECTION https://HOST/PATH`, with a caller token in KEYFERRY_TOKEN and, where it is
not http://127.0.0.1:8080, the proxy in KEYFERRY_PROXY. Exit codes: 0 for a 2xx, 1 for any other
answer of the API, 2 for wrong usage, 3 for a refusal, or where Keyferry can't be reached.
"""

import http.client
import json
import os
import re
import sys
import time
from urllib.parse import urlsplit

# With these, and with a Retry-After, the same request may well pass a little later.
PASSING = ["RateLimited", "Overloaded", "ShuttingDown", "StoreUnavailable"]


class Refusal(Exception):
    """Keyferry's own answer. The code is stable; the title is for people and says who must act."""

    def __init__(self, code: str, title: str, wait: int) -> None:
        super().__init__(f"{code}: {title}")
        self.code, self.wait = code, wait


def call(proxy: str, token: str, connection: str, url: str) -> tuple[int, bytes]:
    """What the API answers. The fields are the whole of the contract: who, with what, and where."""
    origin, keyferry = urlsplit(url), urlsplit(proxy)
    secure = keyferry.scheme == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    conn = kind(keyferry.hostname, keyferry.port, timeout=30)
    target = (origin.path or "/") + (f"?{origin.query}" if origin.query else "")
    conn.request("GET", target, headers={
        "Proxy-Authorization": f"Bearer {token}",
        "X-Zis-Connection": connection,
        "X-Zis-Host": origin.netloc,
    })
    response = conn.getresponse()
    body = response.read()
    conn.close()
    if is_refusal(",".join(response.headers.get_all("Proxy-Status", []))):
        error = json.loads(body)["errors"][0]
        wait = int(response.getheader("Retry-After", "0"))
        raise Refusal(error["code"], error["title"], wait)
    return response.status, body


def is_refusal(proxy_status: str) -> bool:
    """Whether one member is `keyferry`. In an answer of the API's there is never one; in quotes,
    or as another member, the name says nothing."""
    members = re.sub(r'"(?:[^"\\]|\\.)*"', "", proxy_status).split(",")
    return any(member.partition(";")[0].strip() == "keyferry" for member in members)


def main() -> int:
    token = os.environ.get("KEYFERRY_TOKEN", "").strip()
    if len(sys.argv) != 3 or not token or not sys.argv[2].startswith("https://"):
        print("usage: KEYFERRY_TOKEN=… runner.py CONNECTION https://HOST/PATH", file=sys.stderr)
        return 2
    proxy = os.environ.get("KEYFERRY_PROXY", "http://127.0.0.1:8080")
    for attempt in (1, 2):
        try:
            status, body = call(proxy, token, *sys.argv[1:])
            break
        except Refusal as refusal:
            if attempt == 2 or refusal.code not in PASSING or refusal.wait > 60:
                print(f"refused by Keyferry: {refusal}", file=sys.stderr)
                return 3
            time.sleep(refusal.wait)
        except (OSError, ValueError, http.client.HTTPException) as error:
            # Its kind alone: the text of such an error may repeat a field, the token's too.
            print(f"no answer from Keyferry ({type(error).__name__})", file=sys.stderr)
            return 3
    print(f"answered by the API: {status}", file=sys.stderr)
    sys.stdout.buffer.write(body)
    return 0 if 200 <= status < 300 else 1


if __name__ == "__main__":
    sys.exit(main())
