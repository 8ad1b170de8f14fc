"""The project's programs, run in a directory of their own."""

import re
import subprocess
import time
from pathlib import Path


class Programs:
    """Starts the programs of a build, and ends what it has started."""

    def __init__(self, build, directory):
        self.build, self.directory, self.children = Path(build).resolve(), Path(directory), []

    def run(self, program, *arguments, **options):
        """What a program prints that is over soon."""
        command = [self.build / program, *arguments]
        done = subprocess.run(
            command, check=True, cwd=self.directory, stdout=subprocess.PIPE, text=True, timeout=60,
            **options,
        )
        return done.stdout.strip()

    def start(self, command, announcement):
        """Starts a program and waits for what it says once it is ready."""
        out = self.directory / f"{len(self.children)}.out"
        with out.open("w") as stdout, out.with_suffix(".err").open("w") as stderr:
            child = subprocess.Popen(
                [self.build / command[0], *command[1:]],
                cwd=self.directory, env={}, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )
        self.children.append(child)
        deadline = time.monotonic() + 20
        while not (said := re.search(announcement, out.read_text())):
            assert child.poll() is None, out.with_suffix(".err").read_text()
            assert time.monotonic() < deadline, f"{command[0]} is not ready"
            time.sleep(0.01)
        return said

    def stop(self):
        """Ends the programs; gives how each has ended."""
        for child in self.children:
            child.terminate()
        return [child.wait(20) for child in self.children]

    def said(self):
        """What the programs have written, by file."""
        files = [*self.directory.glob("*.out"), *self.directory.glob("*.err")]
        return {file: file.read_text() for file in files}
