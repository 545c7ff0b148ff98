"""Run Python as if only some of the installed packages were there."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parents[2]

# Hides modules from every finder, for `import` and for `find_spec` alike.
_HIDING = """
import json, os, sys

class Hiding:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            return None
        return self._finder.find_spec(name, path, target)

HIDDEN = frozenset(json.loads(os.environ["HIDDEN_MODULES"]))
sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
"""


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def closure(*names: str) -> set[str]:
    """Names of distributions, with all that they require."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = _normal(waiting.pop())
        if name in found:
            continue
        found.add(name)
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.append(requirement.name)
    return found


def modules_beyond(*names: str) -> set[str]:
    """Top-level modules of installed distributions that these ones do not bring."""
    allowed = closure(*names) | {"residua", "pip"}
    return {
        module
        for module, owners in packages_distributions().items()
        if not allowed & {_normal(owner) for owner in owners}
    } - {"residua", "residua_schemas"}


def run_without(
    hidden: set[str], arguments: list[str], directory: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the interpreter with modules hidden."""
    (directory / "sitecustomize.py").write_text(_HIDING)
    path = os.pathsep.join([str(directory), str(REPOSITORY)])
    variables = {**os.environ, "PYTHONPATH": path, "HIDDEN_MODULES": json.dumps(sorted(hidden))}
    return subprocess.run(
        [sys.executable, *arguments],
        env={**variables, **environment},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
