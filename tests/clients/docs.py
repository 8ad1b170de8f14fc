"""Runs what the documentation shows: each command of the tutorial, the how-to pages and the README.

`docs.py PROGRAMS [PAGES…]` reads the fenced blocks of these pages and types them into a shell, one
shell and one directory for each page, with the real program and a local origin in the place of the
hosts that the page names.

* ```` ```console ```` holds commands, each after `$ `, and what they print. A command must end with
  0. Where a block shows what a command prints, the command must print that and nothing else; `…`
  stands for any text, and a line of `…` for any lines. Standard error counts where it is shown.
* ```` ```console background ```` is for a terminal of its own: its command goes on, and the next
  block begins when it has printed what is shown.
* ```` ```sh ```` is a script, run whole.

A page that starts no server finds the one that it asks for: PREPARED.

Blocks with other tags are not run. All pages must be wrapped, and each link between pages must lead
somewhere. What the reference lists (paths of the API, metrics, fields of an entry, header names
that are refused) must be what the program and its source have.
"""

import contextlib
import json
import os
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from programs import Programs

ROOT = Path(__file__).resolve().parent.parent.parent
DOCS = ROOT / "docs"
PROGRAMS, NAMES = Path(sys.argv[1]).resolve(), sys.argv[2:]
PAGES = [ROOT / "README.md", DOCS / "tutorial.md", *sorted((DOCS / "how-to").glob("*.md"))]
# Tags of blocks that show something and run nothing.
SHOWN = {"text", "toml", "yaml", "json", "http", "python", "js", "promql"}
# The hosts that pages name. Their place is taken by a local origin, which the operator's variables
# pin; a page that has an origin of its own (the tutorial) pins that by itself.
HOSTS = ["api.example.com", "files.example.com", "acme.zendesk.com", "httpbin.org"]
COLUMNS = 100
# What each command may take.
SECONDS = 60
# What a reader has who begins with such a page.
PREPARED = """
$ keyferry serve
Keyferry is ready.
$ printf %s THE-REAL-ONE | keyferry connection create --type bearer_token --name orders \\
    --allowed-domain api.example.com --secret-stdin
$ printf %s THE-REAL-ONE | keyferry connection create --type basic_auth --name zendesk \\
    --username agent@acme.example/token --allowed-domain acme.zendesk.com --secret-stdin
$ keyferry token create --name runner --scope proxy > runner.token
$ keyferry token create --name executor --scope proxy > executor.token
"""


@dataclass
class Step:
    """A command, and what it must print."""

    page: Path
    line: int
    command: str
    shown: list[str] = field(default_factory=list)
    background: bool = False

    @property
    def place(self):
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def steps(page):
    """The commands of a page, in their order, and those before them."""
    found, tag, block, indent = [], None, [], 0
    for number, line in enumerate(page.read_text().splitlines(), 1):
        if tag is None:
            if line.lstrip().startswith("```"):
                tag, block = line.strip().removeprefix("```"), []
                indent = len(line) - len(line.lstrip())
        elif line.strip() == "```":
            block = [(place, text[indent:]) for place, text in block]
            if tag == "sh":
                found.append(Step(page, block[0][0], "\n".join(text for _, text in block)))
            elif tag in ("console", "console background"):
                found += commands(page, block, background=tag.endswith("background"))
            elif tag not in SHOWN:
                raise ValueError(f"{page}:{number}: no block is tagged {tag!r}")
            tag = None
        else:
            block.append((number, line))
    if any(step.background and " serve" in step.command for step in found):
        return found
    return [*prepared(), *found]


def prepared():
    lines = [(0, line) for line in PREPARED.strip().splitlines()]
    serve, *others = commands(Path(__file__), lines, background=False)
    serve.background = True
    return [serve, *others]


def commands(page, block, background):
    """The commands of a console block. A here-document, a line that ends with a backslash and an
    open quotation go on in the next line."""
    found, end = [], None
    for number, line in block:
        goes_on = found and not found[-1].shown and is_open(found[-1].command)
        if end is not None:
            found[-1].command += f"\n{line}"
            if line == end:
                end = None
        elif line.startswith("$ "):
            found.append(Step(page, number, line[2:]))
            end = here_document(line)
        elif goes_on:
            found[-1].command += f"\n{line}"
            end = here_document(line)
        elif found:
            found[-1].shown.append(line)
        else:
            raise ValueError(f"{page}:{number}: a console block begins with a command")
    if background:
        found[-1].background = True
    return found


def is_open(command):
    if command.endswith("\\"):
        return True
    try:
        return "<<" not in command and not shlex.split(command)
    except ValueError:
        return True


def here_document(line):
    mark = re.search(r"<<'?([A-Z]+)'?", line)
    return mark and mark[1]


class Shell:
    """A bash that runs one page's commands in a directory of its own."""

    def __init__(self, directory, environment):
        self.directory, self.count = directory, 0
        self.told, telling = os.pipe()
        self.bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"], cwd=directory, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            text=True, pass_fds=[telling], start_new_session=True,
        )
        os.close(telling)
        # The commands must not have the pipe: one that goes on would hold it open.
        self.type(f"exec 9>&{telling} {telling}>&-")
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.told, selectors.EVENT_READ)

    def type(self, text):
        self.bash.stdin.write(text + "\n")
        self.bash.stdin.flush()

    def run(self, step, command):
        """Gives how the command has ended, and the files with what it has printed."""
        self.count += 1
        out = self.directory.parent / f"{self.count}.out"
        err = out.with_suffix(".err")
        out.touch()
        err.touch()
        end = "& echo 0 >&9" if step.background else "; echo $? >&9"
        self.type(f"{{ {command}\n}} >{out} 2>{err} </dev/null 9>&- {end}")
        if not self.selector.select(SECONDS):
            return None, out, err
        return int(os.read(self.told, 16).split()[0]), out, err

    def end(self):
        """Ends what the page has started."""
        self.bash.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.bash.pid, number)
            except ProcessLookupError:
                break
            deadline = time.monotonic() + 15
            while self.lives() and time.monotonic() < deadline:
                time.sleep(0.02)
        self.bash.wait()
        self.selector.close()
        os.close(self.told)

    def lives(self):
        self.bash.poll()
        try:
            os.killpg(self.bash.pid, 0)
        except ProcessLookupError:
            return False
        return True


def pattern(lines):
    """What is shown, as an expression."""
    parts = []
    for line in lines:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
        else:
            parts.append(r".*?".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n")
    return "".join(parts)


def free_ports(count):
    """Ports that nobody has, taken at once so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for taken in sockets:
        taken.bind(("127.0.0.1", 0))
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


class Page(unittest.TestCase):
    def judge(self, page):
        with tempfile.TemporaryDirectory() as directory:
            directory = Path(directory).resolve()
            self.lay_out(directory)
            text = page.read_text()
            ports = dict(zip(("8080", "8081"), map(str, free_ports(2)), strict=True))
            origin = Programs(PROGRAMS, directory)
            address = origin.start(["origin", "origin", *HOSTS], r"address (\S+)\nca ")[1]
            self.addCleanup(origin.stop)
            # The end of a page's programs comes before that of its directory.
            shell = Shell(directory / "clone", self.environment(text, directory, ports, address))
            try:
                for step in steps(page):
                    self.judge_step(shell, step, ports)
            finally:
                shell.end()

    def lay_out(self, directory):
        """What a clone has, and the program where cargo puts it."""
        clone = directory / "clone"
        (clone / "target").mkdir(parents=True)
        (clone / "target/debug").symlink_to(PROGRAMS)
        for name in ("config", "deploy", "examples"):
            (clone / name).symlink_to(ROOT / name)
        (directory / "bin").mkdir()
        (directory / "bin/keyferry").symlink_to(PROGRAMS / "keyferry")
        # What the pages have built is built already.
        cargo = directory / "bin/cargo"
        cargo.write_text('#!/bin/sh\n[ "$1 $2" = "build --bin" ]\n')
        cargo.chmod(0o755)

    def environment(self, text, directory, ports, address):
        """The reader's variables: no credential is among them."""
        path = [str(directory / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
        environment = {
            "HOME": str(directory), "LANG": "C.UTF-8", "PATH": os.pathsep.join(path),
            "TMPDIR": str(directory), "PYTHONDONTWRITEBYTECODE": "1", "NODE_NO_WARNINGS": "1",
            "NODE_PATH": str(ROOT / "tests/clients/node_modules"),
        }
        if not re.search(r"keyferry serve", text):
            environment |= {
                "KEYFERRY_INTEGRATION": "my_integration",
                "KEYFERRY_ZIS__ALLOW_STATIC_ZENDESK": "true",
            }
        if "[upstream.resolve]" not in text:
            pins = ", ".join(f'"{host}:443" = "{address}"' for host in HOSTS)
            environment |= {
                "KEYFERRY_UPSTREAM__RESOLVE": f"{{ {pins} }}",
                "KEYFERRY_UPSTREAM__EXTRA_ROOTS": f'["{directory}/origin/ca.pem"]',
                "KEYFERRY_UPSTREAM__ALLOW_NETWORKS": '["127.0.0.0/8"]',
            }
        # A page that says where the server listens has the ports put into its text.
        if "listen =" not in text:
            environment |= {
                "KEYFERRY_PROXY__LISTEN": f'["127.0.0.1:{ports["8080"]}"]',
                "KEYFERRY_API__LISTEN": f"127.0.0.1:{ports['8081']}",
            }
        return environment

    def judge_step(self, shell, step, ports):
        command = re.sub(r"\b808[01]\b", lambda port: ports[port[0]], step.command)
        code, out, err = shell.run(step, command)
        shown = re.compile(pattern(step.shown))
        deadline = time.monotonic() + SECONDS
        while step.background:
            printed = self.printed(ports, out, err)
            if any(shown.match(text) for text in printed):
                return
            self.assertLess(time.monotonic(), deadline, f"{step.place}: {printed[-1]}")
            time.sleep(0.02)
        printed = self.printed(ports, out, err)
        where = f"{step.place}: $ {step.command}\n{printed[-1]}"
        self.assertEqual(code, 0, where)
        if step.shown:
            self.assertTrue(any(shown.fullmatch(text) for text in printed), where)

    @staticmethod
    def printed(ports, out, err):
        """What stands on the reader's terminal, without standard error and with it."""
        texts = []
        for text in (out.read_text(), out.read_text() + err.read_text()):
            for named, port in ports.items():
                text = re.sub(rf"\b{port}\b", named, text)
            texts.append(text if not text or text.endswith("\n") else f"{text}\n")
        return texts


class Text(unittest.TestCase):
    """What goes for every page of the tree."""

    @classmethod
    def setUpClass(cls):
        git = ["git", "ls-files", "-co", "--exclude-standard", "*.md"]
        listed = subprocess.run(git, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        cls.pages = [ROOT / name for name in listed.stdout.split() if (ROOT / name).exists()]

    def test_every_link_leads_somewhere(self):
        broken = []
        for page in self.pages:
            text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
            for link in re.findall(r"\]\(([^)\s]+)\)", text):
                if re.match(r"https?:|mailto:", link):
                    continue
                path, _, anchor = link.partition("#")
                target = page.parent / path if path else page
                if not target.exists() or anchor and anchor not in anchors(target):
                    broken.append(f"{page.relative_to(ROOT)}: {link}")
        self.assertEqual(broken, [])

    def test_a_code_that_prose_names_leads_to_its_section(self):
        errors = DOCS / "reference/errors.md"
        codes = re.findall(r"^### `(\w+)`", errors.read_text(), re.MULTILINE)
        self.assertGreater(len(codes), 30)
        bare = []
        for page in self.pages:
            # The API has codes of its own; decisions are read by those who know these.
            if page.parent.name == "decisions" or page.name in ("errors.md", "api.md"):
                continue
            if DOCS not in page.parents or page.name in ("ARCHITECTURE.md", "CONTRIBUTING.md"):
                continue
            text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
            for code in codes:
                named = re.search(rf"(\[?)`{code}`", text)
                if named and not named[1]:
                    bare.append(f"{page.relative_to(ROOT)}: {code}")
        self.assertEqual(bare, [])

    def test_prose_is_wrapped(self):
        wide = []
        for page in self.pages:
            if page.parent != ROOT / "docs" and DOCS not in page.parents and page.parent != ROOT:
                continue
            if page.name in ("CHANGELOG.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
                continue
            fenced = False
            for number, line in enumerate(page.read_text().splitlines(), 1):
                fenced ^= line.lstrip().startswith("```")
                # A table's row can't be wrapped, nor can what is shown.
                if len(line) > COLUMNS and not fenced and not line.startswith("|"):
                    wide.append(f"{page.relative_to(ROOT)}:{number}")
        self.assertEqual(wide, [])


class Reference(unittest.TestCase):
    """What the reference lists is what there is."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.programs = Programs(PROGRAMS, directory.name)
        (cls.programs.directory / "keyferry.toml").write_text(
            '[proxy]\nlisten = ["127.0.0.1:0"]\n[api]\nlisten = "127.0.0.1:0"\n'
            '[telemetry]\notlp_endpoint = "http://127.0.0.1:9"\n'
        )
        serve = ["keyferry", "serve", "--config", "keyferry.toml", "--data-dir", "data"]
        said = cls.programs.start(serve, r"proxy +(http\S+)\n +API +(http\S+)")
        cls.addClassCleanup(cls.programs.stop)
        cls.proxy, cls.api = said[1], said[2]
        # A request that is refused: there is an entry, and it has been counted.
        with contextlib.suppress(urllib.error.HTTPError):
            urllib.request.urlopen(f"{cls.proxy}/nothing")

    def get(self, path):
        with urllib.request.urlopen(self.api + path) as answer:
            return answer.read().decode()

    def test_the_paths_are_those_of_the_description(self):
        described = {
            (path, method.upper())
            for path, methods in json.loads(self.get("/openapi.json"))["paths"].items()
            for method in methods
        }
        page = (DOCS / "reference/api.md").read_text()
        [block] = re.findall(r"^```text\n(/api.*?)^```", page, re.DOTALL | re.MULTILINE)
        listed, prefix = set(), ""
        for line in filter(None, block.splitlines()):
            path, *methods = line.split()
            if not methods:
                prefix = path
                continue
            path = prefix + path if line.startswith(" ") else path
            for kind in ("api_key", "basic_auth", "bearer_token"):
                listed |= {
                    (path.replace("{type}", kind), method) for method in methods if method.isupper()
                }
        self.assertEqual(listed, described)

    def test_each_metric_is_listed(self):
        shown = re.findall(r"^# TYPE (\w+) ", self.get("/metrics"), re.MULTILINE)
        page = (DOCS / "reference/logging.md").read_text()
        listed = re.findall(r"^\* `(keyferry_\w+?)(?:_total|_info)?` \(", page, re.MULTILINE)
        self.assertIn("keyferry_requests", shown)
        self.assertEqual([name for name in shown if name not in listed], [])

    def test_each_field_of_an_entry_is_listed(self):
        log = next(file for file in self.programs.said() if file.suffix == ".err")
        deadline = time.monotonic() + 10
        while not (entry := re.search(r'^.*"keyferry::access".*$', log.read_text(), re.MULTILINE)):
            self.assertLess(time.monotonic(), deadline, "there is no entry")
            time.sleep(0.02)
        page = (DOCS / "reference/logging.md").read_text()
        section = page.split("## An entry")[1].split("## ")[0]
        rows = re.findall(r"^\* ((?:`\w+`(?:, )?)+):", section, re.MULTILINE)
        listed = re.findall(r"`(\w+)`", " ".join(rows))
        self.assertEqual(sorted(listed), sorted({*json.loads(entry[0])} - {"level", "target"}))

    def test_each_header_name_that_is_refused_is_listed(self):
        source = (ROOT / "src/model/field.rs").read_text()
        arrays = re.findall(r"const FORBIDDEN\w*: \[&str; \d+\] =\s*\[(.*?)\];", source, re.DOTALL)
        refused = re.findall(r'"([^"]+)"', " ".join(arrays))
        page = (DOCS / "how-to/move-from-zis.md").read_text()
        section = page.split("## Header names that are refused")[1].split("## ")[0]
        listed = re.findall(r"`([a-z0-9-]+)`", section)
        self.assertEqual(sorted(listed), sorted(refused))


def anchors(page):
    """The anchors of a page's headings, as GitHub makes them."""
    found, fenced = [], False
    for line in page.read_text().splitlines():
        fenced ^= line.startswith("```")
        if not fenced and (heading := re.match(r"#{1,6} (.*)", line)):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).strip().lower()
            slug = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            found.append(f"{slug}-{found.count(slug)}" if slug in found else slug)
    return found


def claim(page):
    return lambda self: self.judge(page)


for known in PAGES:
    if known.exists() and (not NAMES or known.stem in NAMES):
        setattr(Page, f"test_{known.stem.lower().replace('-', '_')}", claim(known))

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
