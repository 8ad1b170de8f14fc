"""Drives the console with a browser, as somebody who runs Keyferry does: every page, narrow and
wide, light and dark, with a real provider and a real origin behind it.

`console.py PROGRAMS` starts the origin, the provider and the server out of the directory PROGRAMS,
and leaves pictures of each page in `PROGRAMS/../console`.
"""

import json
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from oauth import CHROMIUM, CLIENT, NODE, PROVIDER, Stage

HERE = Path(__file__).resolve().parent
SHOTS = Path(sys.argv[1]).resolve().parent / "console"


class Failing(Stage):
    """The stage, with names behind which requests fail: one whose certificate is another's, and one
    that is an address of a private network."""

    def set_forge(self):
        super().set_forge()
        self.pinned = {"wrong.test": self.origin, "hidden.example.test": "10.0.0.7:443"}


class Console(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        cls.stage = Failing(sys.argv[1], directory.name)
        cls.addClassCleanup(cls.stage.end)
        cls.stage.set()

    def test_somebody_runs_keyferry_in_a_browser(self):
        stage = self.stage
        token = (stage.directory / "keyferry-data/admin.token").read_text().strip()
        rules = [
            f"MAP {CLIENT} {stage.origin}", f"MAP {PROVIDER} 127.0.0.1", "MAP * ~NOTFOUND",
            "EXCLUDE 127.0.0.1",
        ]
        plan = {
            "url": stage.url, "proxy": stage.proxy, "token": token, "runner": stage.token,
            "issuer": stage.issuer, "password": stage.passwords["my_oauth_client_name"],
            "machine": stage.passwords["machine"],
            "chromium": CHROMIUM, "rules": ",".join(rules), "shots": str(SHOTS),
            "axe": str(HERE / "node_modules/axe-core/axe.min.js"),
        }
        done = subprocess.run(
            [NODE, HERE / "console/drive.mjs", json.dumps(plan)], env=stage.environment(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        weights = json.loads(done.stdout)["weights"]
        heaviest = max(weights, key=weights.get)
        print(f"\nthe heaviest page: {heaviest}, {weights[heaviest]} bytes; pictures: {SHOTS}")
        self.assertLess(weights[heaviest], 150 << 10)


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[2:]], verbosity=2)
