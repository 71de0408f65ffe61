# SPDX-License-Identifier: Apache-2.0
"""``python -m tests.pythons``: the quick tests on each supported Python that uv finds.

Each has an environment of its own, ``.venv-3.12`` and so on, which the next run uses again.
"""

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1]
QUICK = ["-m", "not slow and not cli", "tests/unit", "tests/integration/test_plugin.py", "anomalib_fsad"]


def supported_versions() -> list[str]:
    """The Pythons of pyproject.toml's classifiers."""
    classifiers = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["classifiers"]
    versions = (text.rpartition(" :: ")[2] for text in classifiers if text.startswith("Programming Language :: Python"))
    return [version for version in versions if "." in version]


def interpreters(uv: str) -> dict[str, str]:
    """Version -> an interpreter of this machine."""
    listed = subprocess.check_output([uv, "python", "list", "--only-installed", "--output-format", "json"])
    found = {}
    for entry in json.loads(listed):
        version = f"{entry['version_parts']['major']}.{entry['version_parts']['minor']}"
        if entry["implementation"] == "cpython" and entry.get("variant", "default") == "default":
            found.setdefault(version, entry["path"])
    return found


def passes(version: str, interpreter: str, uv: str) -> bool:
    """Install for that Python and run the quick tests."""
    environment = PROJECT / f".venv-{version}"
    python = environment / "bin/python"
    if not python.exists():
        subprocess.run([uv, "venv", "--quiet", "--python", interpreter, environment], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--constraint", "constraints.txt"]
    subprocess.run([*install, "pip", "--editable", ".[dev]"], check=True, cwd=PROJECT)
    one_thread = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([python, "-m", "pytest", *QUICK], check=False, cwd=PROJECT, env=one_thread).returncode == 0


def main() -> int:
    """Print a verdict for each Python; 0 if all that were found pass, and at least one was."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--uv", default="uv", help="the uv to use")
    uv = parser.parse_args().uv
    found = interpreters(uv)
    verdicts = {}
    for version in supported_versions():
        if version in found:
            verdicts[version] = "passed" if passes(version, found[version], uv) else "FAILED"
        else:
            verdicts[version] = "not installed here"
    for version, verdict in verdicts.items():
        print(f"Python {version}: {verdict}")
    return 0 if "passed" in verdicts.values() and "FAILED" not in verdicts.values() else 1


if __name__ == "__main__":
    sys.exit(main())
