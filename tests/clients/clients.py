"""curl, requests and httpx, each as its users write it, in every form that it can speak.

`clients.py CLIENT` sends one request per form and connection, and those that must be refused.
It knows the proxy and an access token, and no credential; run.py judges what has arrived.
Each line of its output is `sent PATH` or `refused CASE`.
"""

import json
import os
import ssl
import subprocess
import sys

import httpx
import requests

STRICT = os.environ["STRICT"]  # plain_http = "refuse"
UPGRADE = os.environ["UPGRADE"]  # plain_http = "upgrade"
SECURE = os.environ["SECURE"]  # the same, with TLS to the caller
SOCKET = os.environ["SOCKET"]  # STRICT's unix socket
TOKEN = os.environ["TOKEN"]
CA = os.environ["CA"]
HOST = "api.example.test"
CONNECTIONS = ["bearer", "key", "basic"]
TRUST = ssl.create_default_context(cafile=CA)


def slot(connection):
    """Where an SDK puts its API key: there the access token may stand in base-URL form."""
    return {
        "bearer": {"headers": {"Authorization": f"Bearer {TOKEN}"}},
        "key": {"headers": {"X-Api-Key": TOKEN}},
        "basic": {"auth": ("anyone", TOKEN)},
    }[connection]


def gateway(connection, host=HOST):
    return {"X-Zis-Host": host, **tags(connection)}


def tags(connection):
    return {"X-Zis-Connection": connection, "Proxy-Authorization": f"Bearer {TOKEN}"}


def proxy_url(proxy, connection):
    return proxy.replace("://", f"://demo.{connection}:{TOKEN}@")


class Answer:
    def __init__(self, status, text, fields):
        self.status, self.text = status, text
        self.fields = {name.lower(): value for name, value in fields.items()}


class Curl:
    """Each form is a list of arguments."""

    forms = {
        "base-url": lambda c, p: [*Curl.slot(c), f"{STRICT}/~/{c}{p}"],
        "base-url-redirect": lambda c, p: [*Curl.slot(c), "-L", f"{STRICT}/~/{c}/moved{p}"],
        "base-url-socket": lambda c, p: [
            *Curl.slot(c), "--unix-socket", SOCKET, f"http://localhost/~/{c}{p}"
        ],
        "base-url-h2": lambda c, p: [
            *Curl.slot(c), "--http2-prior-knowledge", f"{STRICT}/~/{c}{p}"
        ],
        "base-url-tls-h2": lambda c, p: [*Curl.slot(c), "--cacert", CA, f"{SECURE}/~/{c}{p}"],
        "gateway": lambda c, p: [*Curl.fields(gateway(c)), STRICT + p],
        "gateway-socket": lambda c, p: [
            *Curl.fields(gateway(c)), "--unix-socket", SOCKET, f"http://localhost{p}"
        ],
        "gateway-h2": lambda c, p: [
            *Curl.fields(gateway(c)), "--http2-prior-knowledge", STRICT + p
        ],
        "absolute-https": lambda c, p: [
            *Curl.fields(tags(c)), "--request-target", f"https://{HOST}{p}", STRICT
        ],
        "absolute-http": lambda c, p: ["-x", proxy_url(UPGRADE, c), f"http://{HOST}{p}"],
        "absolute-http-tls": lambda c, p: [
            "-x", proxy_url(SECURE, c), "--proxy-cacert", CA, f"http://{HOST}{p}"
        ],
        "absolute-http-h2": lambda c, p: [
            *Curl.fields(tags(c)), "--http2-prior-knowledge",
            "--connect-to", f"::{Curl.address(UPGRADE)}", f"http://{HOST}{p}",
        ],
        "absolute-https-h2": lambda c, p: [
            *Curl.fields(tags(c)), "--cacert", CA,
            "--connect-to", f"::{Curl.address(SECURE)}", f"https://{HOST}{p}",
        ],
    }
    refusals = {
        "base-url-no-token": lambda p: [f"{STRICT}/~/bearer{p}"],
        "absolute-http-no-token": lambda p: ["-x", UPGRADE, f"http://{HOST}{p}"],
        "gateway-wrong-domain": lambda p: [
            *Curl.fields(gateway("bearer", "evil.example.test")), STRICT + p
        ],
        "absolute-http-refused": lambda p: ["-x", proxy_url(STRICT, "bearer"), f"http://{HOST}{p}"],
    }

    @staticmethod
    def run(arguments, path):
        command = ["curl", "-sS", "-i", "--max-time", "20", "--data", path, *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        head, _, text = done.stdout.replace("\r", "").rpartition("\n\n")
        lines = head.rpartition("\n\n")[2].splitlines()
        fields = dict(line.split(": ", 1) for line in lines[1:])
        return Answer(int(lines[0].split()[1]), text, fields)

    @staticmethod
    def fields(fields):
        return [part for name, value in fields.items() for part in ("-H", f"{name}: {value}")]

    @staticmethod
    def slot(connection):
        own = slot(connection)
        return ["-u", ":".join(own["auth"])] if "auth" in own else Curl.fields(own["headers"])

    @staticmethod
    def address(url):
        return url.split("://")[1]


class Requests:
    """Each form is what `requests.post` takes."""

    forms = {
        "base-url": lambda c, p: {"url": f"{STRICT}/~/{c}{p}", **slot(c)},
        "base-url-redirect": lambda c, p: {"url": f"{STRICT}/~/{c}/moved{p}", **slot(c)},
        "base-url-tls": lambda c, p: {"url": f"{SECURE}/~/{c}{p}", "verify": CA, **slot(c)},
        "gateway": lambda c, p: {"url": STRICT + p, "headers": gateway(c)},
        "absolute-http": lambda c, p: {
            "url": f"http://{HOST}{p}", "proxies": {"http": proxy_url(UPGRADE, c)}
        },
    }
    refusals = {
        "base-url-no-token": lambda p: {"url": f"{STRICT}/~/bearer{p}"},
        "absolute-http-no-token": lambda p: {
            "url": f"http://{HOST}{p}", "proxies": {"http": UPGRADE}
        },
        "gateway-wrong-domain": lambda p: {
            "url": STRICT + p, "headers": gateway("bearer", "evil.example.test")
        },
        "absolute-http-refused": lambda p: {
            "url": f"http://{HOST}{p}", "proxies": {"http": proxy_url(STRICT, "bearer")}
        },
    }

    @staticmethod
    def run(form, path):
        answer = requests.post(data=path, timeout=20, **form)
        return Answer(answer.status_code, answer.text, answer.headers)


class Httpx:
    """Each form is what `httpx.Client` takes, and what its `post` does."""

    forms = {
        "base-url": lambda c, p: ({"base_url": f"{STRICT}/~/{c}", **slot(c)}, {"url": p}),
        "base-url-redirect": lambda c, p: (
            {"base_url": f"{STRICT}/~/{c}", "follow_redirects": True, **slot(c)},
            {"url": f"/moved{p}"},
        ),
        "base-url-socket": lambda c, p: (
            {"transport": httpx.HTTPTransport(uds=SOCKET), **slot(c)},
            {"url": f"http://localhost/~/{c}{p}"},
        ),
        "base-url-h2": lambda c, p: (
            {"base_url": f"{STRICT}/~/{c}", "http1": False, "http2": True, **slot(c)},
            {"url": p},
        ),
        "base-url-tls-h2": lambda c, p: (
            {"base_url": f"{SECURE}/~/{c}", "http2": True, "verify": TRUST, **slot(c)},
            {"url": p},
        ),
        "gateway": lambda c, p: ({"headers": gateway(c)}, {"url": STRICT + p}),
        "gateway-socket": lambda c, p: (
            {"transport": httpx.HTTPTransport(uds=SOCKET), "headers": gateway(c)},
            {"url": f"http://localhost{p}"},
        ),
        "gateway-h2": lambda c, p: (
            {"http1": False, "http2": True, "headers": gateway(c)},
            {"url": STRICT + p},
        ),
        "absolute-https": lambda c, p: (
            {"headers": tags(c)},
            {"url": STRICT, "extensions": {"target": f"https://{HOST}{p}".encode()}},
        ),
        "absolute-http": lambda c, p: (
            {"proxy": proxy_url(UPGRADE, c)},
            {"url": f"http://{HOST}{p}"},
        ),
        "absolute-http-tls": lambda c, p: (
            {"proxy": httpx.Proxy(proxy_url(SECURE, c), ssl_context=TRUST)},
            {"url": f"http://{HOST}{p}"},
        ),
    }
    refusals = {
        "base-url-no-token": lambda p: ({}, {"url": f"{STRICT}/~/bearer{p}"}),
        "absolute-http-no-token": lambda p: ({"proxy": UPGRADE}, {"url": f"http://{HOST}{p}"}),
        "gateway-wrong-domain": lambda p: (
            {"headers": gateway("bearer", "evil.example.test")},
            {"url": STRICT + p},
        ),
        "absolute-http-refused": lambda p: (
            {"proxy": proxy_url(STRICT, "bearer")},
            {"url": f"http://{HOST}{p}"},
        ),
    }

    @staticmethod
    def run(form, path):
        options, request = form
        with httpx.Client(timeout=20, **options) as client:
            answer = client.post(content=path, **request)
        expected = "HTTP/2" if options.get("http2") else "HTTP/1.1"
        assert answer.http_version == expected, answer.http_version
        return Answer(answer.status_code, answer.text, answer.headers)


REFUSED = {
    "base-url-no-token": (401, "CallerUnknown"),
    "absolute-http-no-token": (407, "CallerUnknown"),
    "gateway-wrong-domain": (403, "DomainNotAllowed"),
    "absolute-http-refused": (403, "HttpsRequired"),
}


def main(name):
    client = {"curl": Curl, "requests": Requests, "httpx": Httpx}[name]
    for form, make in client.forms.items():
        for connection in CONNECTIONS:
            path = f"/{name}/{form}/{connection}"
            answer = client.run(make(connection, path), path)
            assert answer.status == 200, (path, answer.status, answer.text)
            assert isinstance(json.loads(answer.text)["received"], int), (path, answer.text)
            print("sent", path)
    for case, make in client.refusals.items():
        path = f"/{name}/{case}/never"
        answer = client.run(make(path), path)
        error = json.loads(answer.text)["errors"][0]
        assert (answer.status, error["code"]) == REFUSED[case], (case, answer.status, error)
        assert answer.fields["proxy-status"].startswith("keyferry; error="), answer.fields
        print("refused", case, answer.status, error["code"])


main(sys.argv[1])
