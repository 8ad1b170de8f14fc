"""Package managers of Node, each as its users run it: `packages.py NAME REGISTRY`.

The project's own settings name another certificate authority, as those of a company do. With UNDER
in the environment, the package manager is run under that command, in the project."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

NAME, REGISTRY = sys.argv[1:]
MODULES = Path(__file__).resolve().parent.parent / "node_modules"
OTHER_CA = Path("origin/ca.pem").resolve()
COMMANDS = {
    "npm": ["npm", "install", "--no-audit", "--no-fund", "--fetch-retries=0"],
    "pnpm": ["node", MODULES / "pnpm/bin/pnpm.cjs", "install", "--fetch-retries=0"],
    "yarn-1": ["node", MODULES / "yarn/bin/yarn.js", "install", "--no-progress"],
    "yarn-4": ["node", MODULES / "@yarnpkg/cli-dist/bin/yarn.js", "install"],
}
YARN_4 = f"""
npmRegistryServer: {REGISTRY}
httpsCaFilePath: {OTHER_CA}
nodeLinker: node-modules
enableGlobalCache: false
enableTelemetry: false
enableImmutableInstalls: false
npmMinimalAgeGate: 0
httpRetry: 0
"""

with tempfile.TemporaryDirectory(dir=".") as directory:
    project = Path(directory)
    demo = {"name": "project", "version": "1.0.0", "dependencies": {"keyferry-demo": "1.0.0"}}
    (project / "package.json").write_text(json.dumps(demo))
    if NAME == "yarn-4":
        (project / ".yarnrc.yml").write_text(YARN_4)
        (project / "yarn.lock").touch()
    else:
        (project / ".npmrc").write_text(f"registry={REGISTRY}\ncafile={OTHER_CA}\n")
    # No cache of an earlier run: what is installed has come through the proxy.
    environment = {**os.environ, "HOME": str(project.resolve())}
    under = environment.pop("UNDER", "").split()
    done = subprocess.run([*under, *COMMANDS[NAME]], cwd=project, env=environment)
    if done.returncode != 0:
        sys.exit(done.returncode)
    print((project / "node_modules/keyferry-demo/index.js").read_text())
