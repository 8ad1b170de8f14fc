"""Judges connections to AWS with boto3, botocore and the AWS CLI, unmodified, which have
placeholder keys.

`aws.py PROGRAMS` starts an origin that stands for AWS, and the proxy out of the directory PROGRAMS,
and runs each client under `keyferry run`. The origin makes the signature of every request again by
botocore's own signer, from what has arrived, and answers by moto only what is signed right.
`aws.py --origin NAMES…` is that origin, `aws.py --client NAME` a client.
"""

import base64
import hashlib
import http.client
import io
import json
import os
import re
import secrets
import ssl
import subprocess
import sys
import tempfile
import unittest
import urllib.request
from pathlib import Path

from programs import Programs

HERE = Path(__file__).resolve().parent
KEY_ID, REGION, BUCKET, TABLE = "AKIAEXAMPLE00000REAL", "us-west-2", "keyferry-bucket", "orders"
PLACEHOLDER = "AKIAPLACEHOLDER00000"
HOSTS = [
    f"{BUCKET}.s3.{REGION}.amazonaws.com",
    f"{BUCKET}.s3.amazonaws.com",
    f"dynamodb.{REGION}.amazonaws.com",
    f"s3.{REGION}.amazonaws.com",
    f"sqs.{REGION}.amazonaws.com",
    f"sts.{REGION}.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
]
ROLE = "arn:aws:iam::123456789012:role/reader"
LARGE = 64 << 20
CONFIG = """
[proxy]
listen = ["127.0.0.1:0"]
[api]
listen = "127.0.0.1:0"
[upstream]
extra_roots = ["origin/ca.pem"]
allow_networks = ["127.0.0.0/8"]
[upstream.resolve]
{pins}
[[connections]]
integration = "demo"
type = "aws_sigv4"
name = "aws"
allowed_domain = "*.amazonaws.com"
access_key_id = "{key_id}"
secret_access_key = {{ file = "secret" }}
[[connections]]
integration = "roles"
type = "aws_sigv4"
name = "other"
allowed_domain = "*.amazonaws.com"
access_key_id = "{key_id}"
secret_access_key = {{ file = "secret" }}
[[tokens]]
name = "runner"
integration = "*"
scopes = ["proxy"]
token = {{ file = "token" }}
"""


# The origin: every request is verified, and answered by moto.


def verify(environ, secret, body, sessions):
    """What is wrong with a request's signature; `None` where it is right. Presigned URLs are not
    looked at."""
    from botocore.auth import S3SigV4Auth, SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    fields = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items() if name.startswith("HTTP_")
    }
    if environ.get("CONTENT_TYPE"):
        fields["content-type"] = environ["CONTENT_TYPE"]
    if "X-Amz-Signature=" in environ["QUERY_STRING"]:
        return "a credential beside a presigned URL" if "authorization" in fields else None
    scheme, _, rest = fields.get("authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return f"no signature: {fields}"
    parts = dict(part.split("=", 1) for part in rest.split(", "))
    key_id, date, region, service, _end = parts["Credential"].split("/")
    signed = parts["SignedHeaders"].split(";")
    # The keys of a session are those that AWS has given, as far as moto stands for it.
    session = sessions.get(key_id)
    if session:
        secret, token = session
        if fields.get("x-amz-security-token") != token:
            return f"another session's token: {fields}"
    elif key_id != KEY_ID or "x-amz-security-token" in fields:
        return f"another key: {fields}"
    if not fields["x-amz-date"].startswith(date):
        return f"another day: {fields}"
    left = [name for name in fields if name.startswith("x-amz-") and name not in signed]
    if left or "host" not in signed:
        return f"not signed: {left}"
    url = f"https://{fields['host']}{environ['RAW_URI']}"
    headers = {name: fields[name] for name in signed}
    request = AWSRequest(environ["REQUEST_METHOD"], url, headers, data=body)
    request.context["timestamp"] = fields["x-amz-date"]
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer = signer(Credentials(key_id, secret), service, region)
    text = signer.string_to_sign(request, signer.canonical_request(request))
    if signer.signature(text, request) != parts["Signature"]:
        return f"another signature: {fields} {environ['RAW_URI']}"
    return None


def read_body(environ):
    """The body, and what is wrong with it. One that is not signed is not read."""
    said = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
    if said and len(said) != 64:
        return None, None
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    is_same = not said or hashlib.sha256(body).hexdigest() == said
    return body, None if is_same else "another body"


def serve_origin():
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    answer, sessions = DomainDispatcherApplication(create_backend_app), {}
    secret = Path("secret").read_text()

    def application(environ, start):
        body, wrong = read_body(environ)
        wrong = wrong or verify(environ, secret, body, sessions)
        kind = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
        said = {
            "wrong": wrong, "host": environ["HTTP_HOST"], "method": environ["REQUEST_METHOD"],
            "payload": kind if len(kind) != 64 else "digest",
            "key": environ.get("HTTP_AUTHORIZATION", "").partition("Credential=")[2].split("/")[0],
        }
        with open("seen", "a", encoding="utf-8") as seen:
            seen.write(json.dumps(said) + "\n")
        if wrong:
            start("403 Forbidden", [("Content-Type", "text/plain")])
            return [wrong.encode()]
        if body and b"Action=AssumeRole&" in body:
            answered = b"".join(answer(environ, start))
            text = answered.decode()
            named = ("AccessKeyId", "SecretAccessKey", "SessionToken")
            key, *rest = (re.search(f"<{name}>(.*?)</{name}>", text)[1] for name in named)
            sessions[key] = tuple(rest)
            return [answered]
        return answer(environ, start)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain("origin/leaf.pem", "origin/leaf.key")
    server = make_server("127.0.0.1", 0, application, threaded=True, ssl_context=context)
    print(f"address 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


# The clients, as their users write them.


def s3():
    import boto3
    import boto3.s3.transfer

    client = boto3.client("s3")
    client.create_bucket(
        Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    for key in ("plain", "a b/ü+~(1)=&?#%.txt", "a//double//"):
        client.put_object(Bucket=BUCKET, Key=key, Body=key.encode(), Metadata={"name": "a  b"})
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == key.encode()
    listed = client.list_objects_v2(Bucket=BUCKET, Prefix="a b/ü+")["Contents"]
    assert [found["Key"] for found in listed] == ["a b/ü+~(1)=&?#%.txt"]
    Path("large").write_bytes(os.urandom(1 << 20) * (LARGE >> 20))
    parts = boto3.s3.transfer.TransferConfig(multipart_threshold=8 << 20)
    client.upload_file("large", BUCKET, "large", Config=parts)
    client.download_file(BUCKET, "large", "copy")
    assert Path("copy").read_bytes() == Path("large").read_bytes()
    client.delete_object(Bucket=BUCKET, Key="large")


def dynamodb():
    import boto3

    client = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
    )
    item = {"id": {"S": "1"}, "text": {"S": "x" * 100_000}}
    client.put_item(TableName=TABLE, Item=item)
    found = client.get_item(TableName=TABLE, Key={"id": {"S": "1"}})
    assert found["Item"] == item


def others():
    import boto3

    assert boto3.client("sts").get_caller_identity()["Account"]
    queue = boto3.client("sqs").create_queue(QueueName="orders")
    assert queue["QueueUrl"]


def presigned():
    """A URL that another holder of keys has signed passes without a credential."""
    import boto3
    import botocore.config
    import requests

    client = boto3.client("s3", config=botocore.config.Config(signature_version="s3v4"))
    url = client.generate_presigned_url("get_object", {"Bucket": BUCKET, "Key": "plain"})
    assert requests.get(url, timeout=30).text == "plain"


def base_url():
    """Without a tunnel: the caller's token is the id of the placeholder key."""
    import boto3

    url, token = f"{os.environ['PROXY']}/~/base.dynamo", os.environ["TOKEN"]
    keys = {"aws_access_key_id": token, "aws_secret_access_key": "placeholder"}
    client = boto3.client("dynamodb", endpoint_url=url, **keys)
    assert client.list_tables()["TableNames"] == [TABLE]


def unsigned():
    """A program that does not sign at all."""
    import requests

    url = f"https://dynamodb.{REGION}.amazonaws.com/"
    fields = {
        "X-Amz-Target": "DynamoDB_20120810.ListTables",
        "Content-Type": "application/x-amz-json-1.0",
    }
    answer = requests.post(url, data="{}", headers=fields, timeout=30)
    assert answer.json() == {"TableNames": [TABLE]}, answer.text


def spelled():
    """Targets of every kind, encoded as clients do, with whatever else a request may have."""
    import random
    from urllib.parse import quote, urlsplit

    proxy = urlsplit(os.environ["HTTPS_PROXY"])
    user = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
    chance = random.Random(16)
    # No client encodes a slash of a path: for S3 that is the slash itself.
    letters = "aZ09-._~ +=&?#%!$'()*,:;@[]^|\\\"<>`{}\u00fc\u1234\U0001f600"

    def text(more=""):
        return "".join(chance.choices(letters + more, k=chance.randrange(8)))

    def part(more=""):
        return quote(text(more), safe="~")

    for host in (HOSTS[0], HOSTS[2]):
        conn = http.client.HTTPSConnection(
            proxy.hostname, proxy.port, timeout=30, context=ssl.create_default_context(),
        )
        conn.set_tunnel(host, 443, {"Proxy-Authorization": f"Basic {user}"})
        for _each in range(200):
            parts = [chance.choice([part(), ".", "..", ""]) for _part in range(4)]
            params = [f"{part('/')}={part('/')}" for _param in range(3)]
            target = f"/x/{'/'.join(parts)}?{'&'.join(params)}"
            fields = {"X-Amz-Meta-Text": f"a  {part()} ", "Content-Type": "text/plain"}
            method = chance.choice(["GET", "POST"])
            conn.request(method, target, body=text().encode(), headers=fields)
            answer = conn.getresponse()
            said = answer.read()
            assert "proxy-status" not in answer.headers, (target, answer.headers, said)
        conn.close()


def cli():
    def aws(*arguments):
        command = [str(Path(sys.executable).parent / "aws"), *arguments, "--output", "json"]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=60)
        return done.stdout.decode()

    Path("note").write_text("from the CLI")
    aws("s3", "cp", "note", f"s3://{BUCKET}/note")
    aws("s3", "cp", f"s3://{BUCKET}/note", "back")
    assert Path("back").read_text() == "from the CLI"
    assert json.loads(aws("dynamodb", "list-tables"))["TableNames"] == [TABLE]
    assert json.loads(aws("sts", "get-caller-identity"))["Arn"]


def role():
    """Requests that the keys of a role's session sign, by a connection that is named."""
    import boto3

    s3 = boto3.client("s3")
    s3.put_object(Bucket=BUCKET, Key="by-role", Body=b"by a role")
    assert s3.get_object(Bucket=BUCKET, Key="by-role")["Body"].read() == b"by a role"
    assert TABLE in boto3.client("dynamodb").list_tables()["TableNames"]
    who = boto3.client("sts").get_caller_identity()["Arn"]
    assert who.endswith("assumed-role/reader/keyferry-roles.reader"), who
    listed = [str(Path(sys.executable).parent / "aws"), "s3", "ls", f"s3://{BUCKET}/by-role"]
    done = subprocess.run(listed, check=True, stdout=subprocess.PIPE, timeout=60)
    assert b"by-role" in done.stdout


CLIENTS = {
    function.__name__: function
    for function in (s3, dynamodb, others, base_url, presigned, unsigned, spelled, cli, role)
}
# Those that name their connection, one of several.
NAMED = {"role": ["--integration", "roles", "--connection", "reader"]}


class Stage(Programs):
    """The origin and the proxy in a directory of their own."""

    def set(self):
        self.secret = secrets.token_urlsafe(30)
        self.token = self.run("keyferry", "token", "generate")
        for name, secret in (("secret", self.secret), ("token", self.token)):
            (self.directory / name).touch(0o600)
            (self.directory / name).write_text(secret)
        # It makes the authority and the certificate, and is asked nothing.
        self.start(["origin", "origin", *HOSTS], r"address (\S+)\nca ")
        origin = [sys.executable, str(HERE / "aws.py"), "--origin"]
        self.origin = self.start(origin, r"address (\S+)\n")[1]
        pins = "\n".join(f'"{host}:443" = "{self.origin}"' for host in HOSTS)
        config = CONFIG.format(pins=pins, key_id=KEY_ID)
        (self.directory / "aws.toml").write_text(config)
        serve = ["keyferry", "serve", "--config", "aws.toml", "--data-dir", "data"]
        said = self.start(serve, r"proxy +(http\S+)\n +API +(http\S+)")
        self.proxy, self.api = said[1], said[2]
        self.keep()

    def keep(self):
        """Has the server keep two of the connections: one by the command line and a preset, the one
        with a role by the API."""
        self.run(
            "keyferry", "connection", "create", "--url", self.api, "--data-dir", "data",
            "--integration", "base", "--preset", "aws", "--name", "dynamo",
            "--allowed-domain", f"dynamodb.{REGION}.amazonaws.com", "--access-key-id", KEY_ID,
            "--secret-file", "secret", stderr=subprocess.DEVNULL,
        )
        body = {
            "type": "aws_sigv4", "name": "reader", "allowed_domain": "*.amazonaws.com",
            "access_key_id": KEY_ID, "secret_access_key": self.secret,
            "assume_role": {"role_arn": ROLE, "external_id": "agreed", "duration": "15m"},
        }
        token = (self.directory / "data/admin.token").read_text().strip()
        request = urllib.request.Request(
            f"{self.api}/api/keyferry/v1/integrations/roles/connections",
            data=json.dumps(body).encode(), method="POST",
            headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 201
            assert self.secret not in answer.read().decode()

    def client(self, name):
        """Runs a client with placeholder keys."""
        place = self.directory / name
        place.mkdir()
        environment = {
            "PATH": os.environ["PATH"], "HOME": str(place), "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION, "AWS_ACCESS_KEY_ID": PLACEHOLDER,
            "AWS_SECRET_ACCESS_KEY": "placeholder", "AWS_EC2_METADATA_DISABLED": "true",
            "PROXY": self.proxy, "TOKEN": self.token,
        }
        token = self.directory / "token"
        command = [
            str(self.build / "keyferry"), "--data-dir", str(self.directory / "data"), "run",
            "--url", self.api, "--proxy", self.proxy,
            *NAMED.get(name, ["--integration", "demo"]), "--caller-token-file", str(token), "--", sys.executable,
            str(HERE / "aws.py"), "--client", name,
        ]
        done = subprocess.run(
            command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=180,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def seen(self):
        file = self.directory / "seen"
        lines = file.read_text().splitlines() if file.exists() else []
        return [json.loads(line) for line in lines]


class Aws(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = tempfile.TemporaryDirectory()
        cls.stage = Stage(PROGRAMS, cls.place.name)
        cls.stage.set()

    @classmethod
    def tearDownClass(cls):
        codes = cls.stage.stop()
        kept = [file for file in (cls.stage.directory / "data").rglob("*") if file.is_file()]
        assert any(file.name == "keyferry.db" for file in kept), kept
        for file in kept:
            assert cls.stage.secret.encode() not in file.read_bytes(), file
        for file, text in cls.stage.said().items():
            assert cls.stage.secret not in text, file
            assert "Traceback" not in text or "origin" not in text, text
        cls.place.cleanup()
        assert codes[-1] == 0, codes

    def test_every_client_with_placeholder_keys_is_signed_for(self):
        for name in CLIENTS:
            with self.subTest(name):
                before = len(self.stage.seen())
                self.stage.client(name)
                seen = self.stage.seen()[before:]
                self.assertTrue(seen, name)
                self.assertEqual([said for said in seen if said["wrong"]], [], name)
        # One question for the session, whose keys have signed all else.
        by_role = [said for said in self.stage.seen() if said["host"].startswith("sts.us-east-1")]
        self.assertEqual([said["key"] for said in by_role], [KEY_ID])
        self.assertTrue(any(said["key"].startswith("ASIA") for said in self.stage.seen()))
        payloads = {said["payload"] for said in self.stage.seen()}
        expected = {"digest", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"}
        self.assertLessEqual(expected, payloads)


if __name__ == "__main__":
    if sys.argv[1] == "--origin":
        serve_origin()
    elif sys.argv[1] == "--client":
        CLIENTS[sys.argv[2]]()
    else:
        PROGRAMS = sys.argv.pop(1)
        unittest.main(verbosity=2)
