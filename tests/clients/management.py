"""Judges the management API with clients of others: curl, as the reference calls it, and
schemathesis, which asks the API's own description what it may send and what may come back.

`management.py PROGRAMS` starts the server out of the directory PROGRAMS, with a store of its own.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import urllib.request
from pathlib import Path

from programs import Programs

HERE = Path(__file__).resolve().parent
SCHEMATHESIS = Path(sys.executable).with_name("schemathesis")
CONFIG = """
[proxy]
listen = ["127.0.0.1:0"]
[api]
listen = "127.0.0.1:0"
requests_per_minute = 0
"""
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z"

# As an operator of ZIS writes them: the path, the method and the body of a curl command, and
# what is answered; TIME stands for any time.
BEARER = {
    "allowed_domain": "api.example.com", "created_at": "TIME", "name": "my_bearer_token_connection",
    "token": "*****", "updated_at": "TIME",
}
KEY = {
    "allowed_domain": "api.example.com", "api_key": "*****", "created_at": "TIME",
    "header_name": "x-api-key", "name": "example_api_key", "updated_at": "TIME",
}
BASIC = {
    "allowed_domain": "api.example.com", "created_at": "TIME", "name": "example_basic_auth_john",
    "password": "*****", "updated_at": "TIME", "username": "john.doe@example.com",
}
WILD = {
    "allowed_domain": "*.example.com", "created_at": "TIME", "name": "example_basic_auth_jane",
    "password": "*****", "updated_at": "TIME", "username": "jane.doe@example.com",
}
MISSING = {"errors": [{"code": "NotFound", "title": "Connection does not exist"}]}
TAKEN = {"errors": [{"code": "Conflict", "title": "Resource conflict"}]}
NEW_BEARER = (
    '{  "name": "my_bearer_token_connection",  "token": "MY_BEARER_TOKEN",'
    '  "allowed_domain": "api.example.com"  }'
)
COMMANDS = [
    ("bearer_token", "POST", NEW_BEARER, 201, {"bearer_token": BEARER}),
    ("bearer_token", "POST", NEW_BEARER, 409, TAKEN),
    ("bearer_token/my_bearer_token_connection", None, None, 200, {"bearer_token": BEARER}),
    (
        "api_key", "POST",
        '{  "name": "example_api_key",  "header_name": "x-api-key",  "api_key": "MY_API_KEY",'
        '  "allowed_domain": "api.example.com"  }',
        201, {"api_key": KEY},
    ),
    (
        "basic_auth", "POST",
        '{  "name": "example_basic_auth_john",  "username": "john.doe@example.com",'
        '  "password": "MY_PASSWORD",  "allowed_domain": "api.example.com"  }',
        201, {"basic_auth": BASIC},
    ),
    (
        "basic_auth", "POST",
        '{  "name": "example_basic_auth_jane",  "username": "jane.doe@example.com",'
        '  "password": "MY_PASSWORD",  "allowed_domain": "*.example.com"  }',
        201, {"basic_auth": WILD},
    ),
    (
        "all", None, None, 200,
        {
            "api_key": [KEY], "basic_auth": [WILD, BASIC], "bearer_token": [BEARER], "oauth": [],
            "meta": {
                "after": "my_bearer_token_connection", "before": "example_api_key",
                "has_more": False,
            },
        },
    ),
    (
        "all?page[after]=example_api_key&page[before]=my_bearer_token_connection&page[size]=10",
        None, None, 200,
        {
            "api_key": [], "basic_auth": [WILD, BASIC], "bearer_token": [], "oauth": [],
            "meta": {
                "after": "example_basic_auth_john", "before": "example_basic_auth_jane",
                "has_more": False,
            },
        },
    ),
    (
        "bearer_token/my_bearer_token_connection", "PATCH", '{  "token": "MY_BEARER_TOKEN"  }',
        204, None,
    ),
    ("bearer_token/my_bearer_token_connection", "DELETE", None, 204, None),
    ("bearer_token/my_bearer_token_connection", "DELETE", None, 404, MISSING),
    ("bearer_token/my_bearer_token_connection", None, None, 404, MISSING),
]


class Management(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        programs = Programs(PROGRAMS, directory.name)
        cls.addClassCleanup(programs.stop)
        (programs.directory / "keyferry.toml").write_text(CONFIG)
        serve = ["keyferry", "serve", "--config", "keyferry.toml", "--data-dir", "data"]
        cls.programs, cls.api = programs, programs.start(serve, r"API +(http\S+)")[1]
        cls.admin = (programs.directory / "data/admin.token").read_text().strip()

    def test_the_commands_of_the_reference_are_answered_field_by_field(self):
        token = self.programs.run(
            "keyferry", "token", "create", "--name", "operator", "--integration", "my_integration",
            "--scope", "read", "--scope", "write", "--url", self.api, "--data-dir", "data",
        )
        for path, method, body, status, expected in COMMANDS:
            with self.subTest(path=path, method=method):
                answer = self.curl(token, path, method, body)
                self.assertEqual(answer, (status, expected))

    def curl(self, token, path, method, body):
        """The status, and the body with its times made alike."""
        url = f"{self.api}/api/services/zis/integrations/my_integration/connections/{path}"
        command = ["curl", "-gsS", "-w", "\n%{http_code}", url]
        command += ["-H", f"Authorization: Bearer {token}"]
        command += ["-X", method] if method else []
        command += ["-H", "content-type: application/json", "-d", body] if body else []
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, timeout=20,
        )
        text, _, status = done.stdout.rpartition("\n")
        text = re.sub(f'"{TIME}"', '"TIME"', text)
        return int(status), json.loads(text) if text else None

    def test_every_operation_that_needs_a_token_is_refused_without_one(self):
        with urllib.request.urlopen(f"{self.api}/openapi.json", timeout=20) as answer:
            description = json.load(answer)
        needy = [
            (path, method)
            for path, item in description["paths"].items()
            for method, operation in item.items()
            if operation.get("security", description.get("security"))
        ]
        self.assertGreater(len(needy), 30)
        # An address of their own each, since who fails too often is told to wait.
        shown = {"127.0.0.2": {}, "127.0.0.3": {"Authorization": f"Bearer kf_{'A' * 43}"}}
        for source, headers in shown.items():
            for path, method in needy:
                with self.subTest(path=path, method=method, headers=headers):
                    self.assertEqual(self.status(source, path, method, headers), 401)

    def status(self, source, path, method, headers):
        """What a client at the address source is answered."""
        server = urllib.parse.urlsplit(self.api)
        connection = http.client.HTTPConnection(
            server.hostname, server.port, timeout=20, source_address=(source, 0),
        )
        try:
            connection.request(method.upper(), re.sub(r"\{\w+\}", "any", path), headers=headers)
            return connection.getresponse().status
        finally:
            connection.close()

    def test_the_description_holds_for_whatever_it_allows(self):
        done = subprocess.run(
            [
                SCHEMATHESIS, "--config-file", HERE / "schemathesis.toml", "run",
                f"{self.api}/openapi.json", "-H", f"Authorization: Bearer {self.admin}",
            ],
            cwd=self.programs.directory, env={"PATH": os.environ["PATH"], "NO_COLOR": "1"},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        print(done.stdout[-1500:])


PROGRAMS = sys.argv[1]

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
