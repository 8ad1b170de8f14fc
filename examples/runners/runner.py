"""The whole of what a program must know of Keyferry, in Python: `runner.py URL CONNECTION`.

It names a connection, shows its own token, and tells a refusal of Keyferry's from an answer of the
API's. It needs no library. KEYFERRY_PROXY is http://127.0.0.1:8080 unless it is set, and
KEYFERRY_TOKEN is the program's access token.
"""

import http.client
import json
import os
import sys
from urllib.parse import urlsplit


class Refused(Exception):
    """Keyferry has sent nothing, or got no answer; `code` says who must act (docs/ERRORS.md)."""

    def __init__(self, code, title):
        super().__init__(f"{code}: {title}")
        self.code = code


def call(method, url, connection, body=None):
    """The status and the body with which the API answers."""
    there = urlsplit(url)
    proxy = urlsplit(os.environ.get("KEYFERRY_PROXY", "http://127.0.0.1:8080"))
    conn = http.client.HTTPConnection(proxy.hostname, proxy.port, timeout=30)
    target = (there.path or "/") + (f"?{there.query}" if there.query else "")
    fields = {
        "X-Zis-Connection": connection,
        "X-Zis-Host": there.netloc,
        "Proxy-Authorization": f"Bearer {os.environ['KEYFERRY_TOKEN']}",
    }
    if body is not None:
        body, fields["Content-Type"] = json.dumps(body), "application/json"
    conn.request(method, target, body, fields)
    answer = conn.getresponse()
    content = answer.read()
    # An API's own 403 has no such member: Keyferry takes it out of what it relays.
    if "keyferry" in answer.headers.get("Proxy-Status", ""):
        error = json.loads(content)["errors"][0]
        raise Refused(error["code"], error["title"])
    return answer.status, content.decode()


if __name__ == "__main__":
    try:
        print(*call("GET", sys.argv[1], sys.argv[2]))
    except Refused as refused:
        sys.exit(str(refused))
