"""Judges what is in deploy/: by the schemas of those who read it, and by the program itself.

`deploy.py PROGRAMS` needs the program `keyferry` in the directory PROGRAMS.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import kubernetes_validate
import yaml

DEPLOY = Path(__file__).resolve().parent.parent.parent / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
# The newest of those that the package has the schemas of.
VERSION = kubernetes_validate.latest_version()


def documents(file):
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def pods(file):
    return [d["spec"]["template"]["spec"] for d in documents(file) if d["kind"] == "Deployment"]


class Deploy(unittest.TestCase):
    def test_every_manifest_is_one_of_kubernetes(self):
        for file in KUBERNETES:
            for document in documents(file):
                with self.subTest(file=file.name, kind=document["kind"]):
                    kubernetes_validate.validate(document, VERSION, strict=True)

    def test_the_compose_file_is_one(self):
        check = [
            sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
            DEPLOY / "compose/compose.yaml",
        ]
        done = subprocess.run(check, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_systemd_takes_the_unit(self):
        with tempfile.TemporaryDirectory() as directory:
            unit = Path(directory) / "keyferry.service"
            text = (DEPLOY / "systemd/keyferry.service").read_text()
            # What it starts must be there for the check.
            unit.write_text(text.replace("/usr/local/bin/keyferry", str(PROGRAMS / "keyferry")))
            verify = ["systemd-analyze", "verify", "--man=no", unit]
            done = subprocess.run(verify, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        own = [line for line in done.stdout.splitlines() if "keyferry" in line]
        self.assertEqual((done.returncode, own), (0, []), done.stdout)

    def test_the_program_takes_every_configuration(self):
        texts = {"compose": (DEPLOY / "compose/keyferry.toml").read_text()}
        for file in KUBERNETES:
            for document in documents(file):
                if document["kind"] == "ConfigMap":
                    texts[file.name] = document["data"]["keyferry.toml"]
        self.assertEqual(len(texts), 4)
        for name, text in texts.items():
            with self.subTest(name=name), tempfile.TemporaryDirectory() as directory:
                self.check(Path(directory), text)

    def check(self, directory, text):
        """`keyferry check`, with the files that the configuration names made below `directory`."""
        make_ca(directory)
        for path in set(re.findall(r'"(/(?:run|secrets|etc|tls)/[^"]+)"', text)):
            if path.endswith(".sock"):
                continue
            here = directory / path.lstrip("/")
            here.parent.mkdir(parents=True, exist_ok=True)
            kind = "key" if re.search("key$", path) else "pem" if re.search("(pem|crt)$", path) else ""
            here.write_text((directory / f"ca.{kind}").read_text() if kind else "a-secret")
            here.chmod(0o600)
            text = text.replace(f'"{path}"', f'"{here}"')
        (directory / "keyferry.toml").write_text(text)
        done = subprocess.run(
            [PROGRAMS / "keyferry", "check", "--config", directory / "keyferry.toml"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={},
        )
        self.assertEqual(done.returncode, 0, done.stdout)

    def test_what_a_configuration_reads_is_mounted(self):
        for file in KUBERNETES:
            [text] = [d["data"]["keyferry.toml"] for d in documents(file) if d["kind"] == "ConfigMap"]
            [pod] = pods(file)
            ours = [c for c in pod.get("initContainers", []) + pod["containers"] if c["name"] == "keyferry"]
            mounts = [mount["mountPath"] for mount in ours[0]["volumeMounts"]]
            volumes = {volume["name"] for volume in pod["volumes"]}
            self.assertLessEqual({mount["name"] for mount in ours[0]["volumeMounts"]}, volumes)
            for path in re.findall(r'"(?:unix:)?(/[^"]+)"', text):
                with self.subTest(file=file.name, path=path):
                    self.assertTrue(any(path.startswith(f"{mount}/") for mount in mounts), mounts)

    def test_a_programs_proxy_is_where_the_sidecar_listens(self):
        text = (DEPLOY / "compose/compose.yaml").read_text()
        listen = tomllib.loads((DEPLOY / "compose/keyferry.toml").read_text())["proxy"]["listen"]
        self.assertIn(f"HTTPS_PROXY: http://{listen[0]}", text)
        app = pods(DEPLOY / "kubernetes/sidecar.yaml")[0]["containers"][0]
        proxies = [v["value"] for v in app["env"] if v["name"].lower() == "https_proxy"]
        self.assertEqual(proxies, [f"http://{listen[0]}"] * 2)

    def test_no_container_may_more_than_it_needs(self):
        for file in KUBERNETES:
            for pod in pods(file):
                self.assertTrue(pod["securityContext"]["runAsNonRoot"])
                for container in pod.get("initContainers", []) + pod["containers"]:
                    may = container["securityContext"]
                    self.assertEqual(may["capabilities"], {"drop": ["ALL"]})
                    self.assertTrue(may["readOnlyRootFilesystem"])
                    self.assertFalse(may["allowPrivilegeEscalation"])


def make_ca(directory):
    """A CA by the command of deploy/README.md."""
    readme = (DEPLOY / "README.md").read_text()
    command = re.search(r"\$ (openssl req .*?-out ca\.pem)", readme, re.DOTALL)[1]
    subprocess.run(
        ["sh", "-c", command.replace("\\\n", " ")], cwd=directory, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )


PROGRAMS = Path(sys.argv[1]).resolve()

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
