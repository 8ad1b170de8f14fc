"""Judges what is in deploy/: by the schemas of those who read it, and by the program itself.

`deploy.py PROGRAMS` needs the program `keyferry` in the directory PROGRAMS.
"""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import tomllib
import unittest
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from programs import Programs

ROOT = Path(__file__).resolve().parent.parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE = [DEPLOY / "compose/compose.yaml", DEPLOY / "compose/socket.yaml"]
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
SYSTEMD = DEPLOY / "systemd/keyferry.service"
# The newest of those that the package has the schemas of; and the oldest that the README promises.
NEWEST = kubernetes_validate.latest_version()
OLDEST = {"shared.yaml": "1.30.0", "sidecar.yaml": "1.29.0", "socket.yaml": "1.29.0"}
DEFAULTS = tomllib.loads((ROOT / "config/default.toml").read_text())
# Where containers and the unit find the program and its configuration.
BINARIES = ["/keyferry", "/usr/local/bin/keyferry"]
CONFIG = "/etc/keyferry/keyferry.toml"
POD_IP = "10.1.2.3"


def documents(file):
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


def config_map(file):
    [text] = [d["data"]["keyferry.toml"] for d in documents(file) if d["kind"] == "ConfigMap"]
    return text


def pod(file):
    [pod] = [d["spec"]["template"]["spec"] for d in documents(file) if d["kind"] == "Deployment"]
    return pod


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def sidecar(pod):
    [ours] = [container for container in containers(pod) if container["name"] == "keyferry"]
    return ours


def compose(file):
    """A Compose file, and the configuration that its sidecar mounts."""
    project = yaml.safe_load(file.read_text())
    mounts = [v.split(":") for v in project["services"]["keyferry"]["volumes"]]
    [source] = [mount[0] for mount in mounts if mount[1] == CONFIG]
    return project, (file.parent / source).read_text()


def configurations():
    """Every configuration, by the file that it is for."""
    return {
        **{file: compose(file)[1] for file in COMPOSE},
        **{file: config_map(file) for file in KUBERNETES},
        SYSTEMD: (DEPLOY / "systemd/keyferry.toml").read_text(),
    }


def with_every_key(text):
    """A configuration file with the keys that it has only as comments."""
    return re.sub(r'^# (\[\[|[a-z_]+ = (?=["{\[]))', r"\1", text, flags=re.MULTILINE)


def tables(value, path=()):
    """Every table in a value, by its path."""
    if isinstance(value, dict):
        yield path, value
    for key, below in list(value.items() if isinstance(value, dict) else enumerate(value)):
        if isinstance(below, (dict, list)):
            yield from tables(below, (*path, key))


def grace(text):
    return seconds(tomllib.loads(text).get("shutdown_grace", DEFAULTS["shutdown_grace"]))


def stop(text):
    """How long a stop takes at most: requests, then refreshes of tokens; and the last words."""
    return 2 * grace(text) + 2


def seconds(text):
    return int(re.fullmatch(r"(\d+)s?", text)[1])


def paths(text):
    """The files that a configuration names, and the sockets."""
    return re.findall(r'"(?:unix:)?(/[^"]+)"', text)


class Deploy(unittest.TestCase):
    def test_every_manifest_is_one_of_kubernetes(self):
        for file in KUBERNETES:
            for document in documents(file):
                for version in (OLDEST[file.name], NEWEST):
                    with self.subTest(file=file.name, kind=document["kind"], version=version):
                        kubernetes_validate.validate(document, version, strict=True)

    def test_every_compose_file_is_one(self):
        for file in COMPOSE:
            schema = ["--builtin-schema", "vendor.compose-spec"]
            self.succeeds([sys.executable, "-m", "check_jsonschema", *schema, file])

    def test_systemd_takes_the_unit(self):
        with tempfile.TemporaryDirectory() as directory:
            unit = Path(directory) / SYSTEMD.name
            # What it starts must be there for the check.
            program = str(PROGRAMS / "keyferry")
            unit.write_text(SYSTEMD.read_text().replace("/usr/local/bin/keyferry", program))
            said = self.succeeds(["systemd-analyze", "verify", "--man=no", unit])
        self.assertEqual([line for line in said.splitlines() if "keyferry" in line], [])

    def test_systemd_finds_little_that_the_unit_may(self):
        # In tenths, of ten: a unit without any of this has 9.6.
        self.succeeds(
            ["systemd-analyze", "security", "--offline=true", "--threshold=15", SYSTEMD]
        )

    def succeeds(self, command):
        """What a program prints that ends with 0."""
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
            env={"PATH": os.environ["PATH"]},
        )
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout

    def test_no_configuration_is_left_out(self):
        files = {file for folder in ("compose", "systemd") for file in (DEPLOY / folder).iterdir()}
        tomls = [file.read_text() for file in files if file.suffix == ".toml"]
        self.assertEqual(set(COMPOSE), {file for file in files if file.suffix == ".yaml"})
        self.assertLessEqual(set(tomls), set(configurations().values()))

    def test_the_program_takes_every_configuration(self):
        for file, text in configurations().items():
            with self.subTest(file=file.name), tempfile.TemporaryDirectory() as directory:
                config = Place(Path(directory), text).config
                said = self.succeeds([PROGRAMS / "keyferry", "check", "--config", config])
                # Not a warning either: that is what the modes of the mounts are for.
                self.assertRegex(said, r"^\S+: no fault; \d connections?, 0 tokens(; the store .* not read)?\n$")

    def test_the_schema_takes_what_the_program_takes_and_no_other_key(self):
        schema = json.loads(self.succeeds([PROGRAMS / "keyferry", "config", "schema"]))
        jsonschema.Draft202012Validator.check_schema(schema)
        faults = jsonschema.Draft202012Validator(schema).iter_errors
        texts = {file: file.read_text() for file in sorted((ROOT / "config").glob("*.toml"))}
        texts["with every key"] = with_every_key(texts[ROOT / "config/default.toml"])
        self.assertEqual(len(tomllib.loads(texts["with every key"])["connections"]), 5)
        for name, text in {**texts, **configurations()}.items():
            value = json.loads(json.dumps(tomllib.loads(text), default=str))
            with self.subTest(name=name):
                self.assertEqual(list(faults(value)), [])
                # In every table but those whose keys are the operator's own.
                for path, table in tables(value):
                    if path == ("upstream", "resolve") or path[-1:] == ("secrets",):
                        continue
                    table["colour"] = "blue"
                    self.assertNotEqual(list(faults(value)), [], path)
                    del table["colour"]
        for text in ('proxy.idle_timeout = "60"', "proxy.allowed_ports = []", 'log.format = "x"',
                     'data_dir = ""', 'zis.subdomain = "a.b"', 'connections = [{ name = "abc" }]'):
            self.assertNotEqual(list(faults(tomllib.loads(text))), [], text)

    def test_a_health_check_tells_a_server_that_runs_from_one_that_does_not(self):
        for file, command in health_checks():
            with self.subTest(file=file.name, command=command), \
                    tempfile.TemporaryDirectory() as directory:
                place = Place(Path(directory), configurations()[file])
                self.assertIn(command[0], BINARIES)
                arguments = [place.config if a == CONFIG else a for a in command[1:]]
                ask = [PROGRAMS / "keyferry", *arguments]
                programs = place.serve()
                try:
                    self.succeeds(ask)
                finally:
                    ends = programs.stop()
                self.assertEqual(ends, [0], programs.said())
                after = subprocess.run(ask, stderr=subprocess.PIPE, text=True, env={})
                self.assertEqual(after.returncode, 1, after.stderr)

    def test_a_probe_over_http_is_answered_and_so_is_prometheus(self):
        file = DEPLOY / "kubernetes/shared.yaml"
        ours = sidecar(pod(file))
        [hosts] = [v["value"] for v in ours["env"] if v["name"] == "KEYFERRY_API__ALLOWED_HOSTS"]
        environment = {
            "KEYFERRY_API__ALLOWED_HOSTS": hosts.replace("$(POD_IP)", POD_IP),
            # The database is not what is asked here.
            "KEYFERRY_STORE__URL": "memory:",
            # As Kubernetes sets them for a service of this name.
            "KEYFERRY_PORT": "tcp://10.0.0.1:8080", "KEYFERRY_SERVICE_HOST": "10.0.0.1",
        }
        with tempfile.TemporaryDirectory() as directory:
            place = Place(Path(directory), config_map(file))
            programs = place.serve(environment)
            try:
                for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                    probe = ours[kind]["httpGet"]
                    [host] = [h["value"] for h in probe["httpHeaders"] if h["name"] == "Host"]
                    self.assertEqual(place.status(probe["path"], host), 200, kind)
                self.assertEqual(place.status("/metrics", f"{POD_IP}:8081"), 200)
                self.assertEqual(place.status("/healthz", "10.9.9.9:8081"), 421)
            finally:
                programs.stop()

    def test_what_a_pod_reads_is_mounted(self):
        for file in KUBERNETES:
            text, spec = config_map(file), pod(file)
            volumes = {volume["name"] for volume in spec["volumes"]}
            for container in containers(spec):
                mounted = {mount["name"] for mount in container["volumeMounts"]}
                self.assertLessEqual(mounted, volumes)
            mounts = [mount["mountPath"] for mount in sidecar(spec)["volumeMounts"]]
            for path in paths(text):
                with self.subTest(file=file.name, path=path):
                    self.assertTrue(any(path.startswith(f"{mount}/") for mount in mounts), mounts)
            self.assertIn(os.path.dirname(CONFIG), mounts)
            self.assertIn(CONFIG, sidecar(spec)["args"])

    def test_what_a_compose_service_reads_is_mounted(self):
        for file in COMPOSE:
            project, text = compose(file)
            for service in project["services"].values():
                self.assertLessEqual(set(service.get("secrets", [])), set(project["secrets"]))
            ours = project["services"]["keyferry"]
            secrets = [f"/run/secrets/{name}" for name in ours["secrets"]]
            volumes = [volume.split(":")[1] for volume in ours["volumes"]]
            for path in paths(text):
                with self.subTest(file=file.name, path=path):
                    below = any(path.startswith(f"{volume}/") for volume in volumes)
                    self.assertTrue(path in secrets or below, path)
            self.assertIn(CONFIG, ours["command"])

    def test_the_unit_loads_each_secret_that_its_configuration_names(self):
        unit, text = SYSTEMD.read_text(), configurations()[SYSTEMD]
        loaded = re.findall(r"^LoadCredential=([^:]+):/", unit, re.MULTILINE)
        read = re.findall(r'"/run/credentials/keyferry\.service/([^"]+)"', text)
        self.assertEqual(loaded, read)
        self.assertIn(CONFIG, unit)

    def test_a_programs_proxy_is_where_the_sidecar_listens(self):
        project, text = compose(DEPLOY / "compose/compose.yaml")
        self.assertEqual(project["services"]["app"]["network_mode"], "service:keyferry")
        asked = [(project["services"]["app"]["environment"], text)]
        file = DEPLOY / "kubernetes/sidecar.yaml"
        app = pod(file)["containers"][0]
        asked.append(({v["name"]: v["value"] for v in app["env"]}, config_map(file)))
        for environment, text in asked:
            [listen] = tomllib.loads(text)["proxy"]["listen"]
            for name in ("HTTPS_PROXY", "https_proxy"):
                self.assertEqual(environment[name], f"http://{listen}")

    def test_a_programs_socket_is_where_the_sidecar_listens(self):
        project, text = compose(DEPLOY / "compose/socket.yaml")
        file = DEPLOY / "kubernetes/socket.yaml"
        app = pod(file)["containers"][0]
        asked = [(text, project["services"]["app"]), (config_map(file), app)]
        for text, app in asked:
            [listen] = tomllib.loads(text)["proxy"]["listen"]
            self.assertIn(f'--unix-socket {listen.removeprefix("unix:")}', flat(app))

    def test_a_program_trusts_the_ca_that_it_has(self):
        project, _ = compose(DEPLOY / "compose/compose.yaml")
        app = project["services"]["app"]
        has = [(app["environment"], [f"/run/secrets/{name}" for name in app["secrets"]])]
        app = pod(DEPLOY / "kubernetes/sidecar.yaml")["containers"][0]
        files = [f'{mount["mountPath"]}/ca.pem' for mount in app["volumeMounts"]]
        has.append(({v["name"]: v["value"] for v in app["env"]}, files))
        for environment, files in has:
            bundles = [v for v in environment if v.endswith(("_BUNDLE", "_FILE", "_CERTS"))]
            self.assertEqual(len(bundles), 4)
            for name in bundles:
                self.assertIn(environment[name], files, name)

    def test_the_program_never_has_what_the_sidecar_keeps(self):
        for file in COMPOSE:
            self.assertLessEqual(
                set(compose(file)[0]["services"]["app"].get("secrets", [])), {"ca_pem"},
            )
        for file in KUBERNETES:
            for container in containers(pod(file)):
                mounted = {mount["name"] for mount in container["volumeMounts"]}
                if container["name"] != "keyferry":
                    self.assertLessEqual(mounted, {"ca", "socket"})

    def test_compose_publishes_the_api_to_this_machine_alone(self):
        for file in COMPOSE:
            project, text = compose(file)
            published = [p for s in project["services"].values() for p in s.get("ports", [])]
            port = tomllib.loads(text)["api"]["listen"].split(":")[1]
            self.assertEqual(published, [f"127.0.0.1:${{KEYFERRY_API_PORT:-{port}}}:{port}"])

    def test_the_example_of_the_environment_has_each_variable_and_its_default(self):
        example = (DEPLOY / "compose/.env.example").read_text()
        for file in COMPOSE:
            asked = re.findall(r"\$\{(\w+):-([^}]+)\}", file.read_text())
            said = re.findall(r"^(\w+)=(.+)$", example, re.MULTILINE)
            self.assertEqual(sorted(asked), sorted(said))

    def test_whoever_ends_a_server_waits_longer_than_it_takes(self):
        for file in COMPOSE:
            project, text = compose(file)
            patience = seconds(project["services"]["keyferry"]["stop_grace_period"])
            self.assertGreater(patience, stop(text), file.name)
        for file in KUBERNETES:
            spec = pod(file)
            pause = sidecar(spec).get("lifecycle", {}).get("preStop", {}).get("sleep", {})
            takes = pause.get("seconds", 0) + stop(config_map(file))
            self.assertGreater(spec["terminationGracePeriodSeconds"], takes, file.name)
        patience = re.search(r"^TimeoutStopSec=(.+)$", SYSTEMD.read_text(), re.MULTILINE)[1]
        self.assertGreater(seconds(patience), stop(configurations()[SYSTEMD]))

    def test_a_sidecar_starts_before_the_program_and_every_server_is_watched(self):
        for file in KUBERNETES:
            ours = sidecar(pod(file))
            if ours in pod(file).get("initContainers", []):
                self.assertEqual(ours["restartPolicy"], "Always", file.name)
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                self.assertIn(kind, ours, file.name)
        for file in COMPOSE:
            waits = compose(file)[0]["services"]["app"]["depends_on"]
            self.assertEqual(waits, {"keyferry": {"condition": "service_healthy"}})

    def test_ports_have_one_name_each(self):
        file = DEPLOY / "kubernetes/shared.yaml"
        config = tomllib.loads(config_map(file))
        ports = {port["name"]: port["containerPort"] for port in sidecar(pod(file))["ports"]}
        listen = [*config["proxy"]["listen"], config["api"]["listen"]]
        self.assertEqual(listen, [f"0.0.0.0:{ports[name]}" for name in ("proxy", "api")])
        by_kind = {document["kind"]: document["spec"] for document in documents(file)[1:]}
        for port in by_kind["Service"]["ports"]:
            self.assertIn(port["targetPort"], ports)
        opened = [p["port"] for rule in by_kind["NetworkPolicy"]["ingress"] for p in rule["ports"]]
        self.assertEqual(opened, [*ports.values()])
        labels = by_kind["Deployment"]["template"]["metadata"]["labels"]
        self.assertEqual(by_kind["Service"]["selector"], labels)
        self.assertEqual(by_kind["PodDisruptionBudget"]["selector"]["matchLabels"], labels)
        self.assertEqual(by_kind["NetworkPolicy"]["podSelector"]["matchLabels"], labels)

    def test_no_container_may_more_than_it_needs(self):
        for file in COMPOSE:
            for name, service in compose(file)[0]["services"].items():
                self.assertEqual(service["cap_drop"], ["ALL"], name)
                self.assertEqual(service["security_opt"], ["no-new-privileges:true"], name)
            self.assertTrue(compose(file)[0]["services"]["keyferry"]["read_only"])
        for file in KUBERNETES:
            spec = pod(file)
            self.assertTrue(spec["securityContext"]["runAsNonRoot"])
            self.assertEqual(spec["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            self.assertFalse(spec["automountServiceAccountToken"])
            for container in containers(spec):
                may = container["securityContext"]
                self.assertEqual(may["capabilities"], {"drop": ["ALL"]})
                self.assertTrue(may["readOnlyRootFilesystem"])
                self.assertFalse(may["allowPrivilegeEscalation"])


def health_checks():
    """The commands by which containers are asked whether they are well, once for each file."""
    asked = {}
    for file in COMPOSE:
        kind, *command = compose(file)[0]["services"]["keyferry"]["healthcheck"]["test"]
        assert kind == "CMD", file
        asked[file, json.dumps(command)] = command
    for file in KUBERNETES:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            command = sidecar(pod(file))[probe].get("exec", {}).get("command")
            if command:
                asked[file, json.dumps(command)] = command
    return [(file, command) for (file, _), command in asked.items()]


def flat(app):
    """A program's command line, of Compose or of Kubernetes."""
    words = [app["command"], *app.get("args", [])]
    return " ".join(w if isinstance(w, str) else " ".join(w) for w in words)


class Place:
    """A configuration, with what it reads and where it listens moved below a directory."""

    def __init__(self, directory, text):
        self.directory = directory
        make_ca(directory)
        for path in set(paths(text)):
            here = directory / path.lstrip("/")
            here.parent.mkdir(parents=True, exist_ok=True)
            text = text.replace(f"{path}\"", f"{here}\"")
            if path.endswith(".sock") or path.startswith("/data/"):
                continue
            kind = re.search("(key|pem|crt)$", path.replace("_", "."))
            pem = f"ca.{'key' if kind[1] == 'key' else 'pem'}" if kind else None
            here.write_text((directory / pem).read_text() if pem else "a-secret")
            # As an orchestrator gives it to a group.
            here.chmod(0o440)
        # Ports that are free, where the configuration has those of its network.
        [self.api, proxy] = [free_port(), free_port()]
        listen = f'listen = "127.0.0.1:{self.api}"\npublic_url = "http://127.0.0.1:{self.api}"'
        text = re.sub(r'listen = "[\d.]+:8081"', listen, text)
        text = re.sub(r'"[\d.]+:8080"', f'"127.0.0.1:{proxy}"', text)
        if "data_dir" not in text:
            text = f'data_dir = "{directory / "data/keyferry"}"\n{text}'
        (directory / "data").mkdir(exist_ok=True)
        self.config = directory / "keyferry.toml"
        self.config.write_text(text)

    def serve(self, environment=None):
        programs = Programs(PROGRAMS, self.directory)
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        command = ["/usr/bin/env", *variables, PROGRAMS / "keyferry", "serve"]
        programs.start([*command, "--config", self.config], "Keyferry is ready")
        return programs

    def status(self, path, host):
        conn = http.client.HTTPConnection("127.0.0.1", self.api, timeout=10)
        try:
            conn.request("GET", path, headers={"Host": host})
            return conn.getresponse().status
        finally:
            conn.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
