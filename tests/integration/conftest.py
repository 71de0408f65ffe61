# SPDX-License-Identifier: Apache-2.0
"""A scratch environment: the built wheel alone, with everything it depends on borrowed from this environment."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

PROJECT = Path(__file__).parents[2]
RUNTIME = PROJECT / "anomalib_fsad/deploy/distribution"
DEPENDENCIES = Path(sysconfig.get_paths()["purelib"])


class Scratch(NamedTuple):
    """An environment to break."""

    python: Path
    packages: Path

    def run(self, *arguments: str | Path, check: bool = True, **options) -> subprocess.CompletedProcess[str]:
        """Run its Python, away from this project's folder and without this process's PYTHONPATH."""
        environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "ANOMALIB_FSAD_AUTOLOAD"}}
        environment |= options.pop("env", {})
        result = subprocess.run(
            [self.python, *arguments], capture_output=True, text=True, check=False, env=environment, **options
        )
        assert not check or result.returncode == 0, result.stdout[-3000:] + result.stderr[-6000:]
        return result

    def pip(self, *arguments: str | Path) -> None:
        """Install or uninstall without touching what is borrowed."""
        subprocess.run(
            [sys.executable, "-m", "pip", "--quiet", "--python", self.python, *arguments], check=True, cwd=PROJECT
        )


def make_environment(folder: Path) -> Scratch:
    """An empty environment that sees this one's packages, but not its start-up files."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    packages = Path(
        subprocess.check_output(
            [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"], text=True
        ).strip()
    )
    (packages / "zz_dependencies.pth").write_text(f"{DEPENDENCIES}\n")
    return Scratch(python, packages)


@pytest.fixture(scope="session")
def new_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Scratch]:
    return lambda name: make_environment(tmp_path_factory.mktemp(name) / "env")


@pytest.fixture(scope="session")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheels: the one that DIST names, or built here."""
    if "DIST" in os.environ:
        return PROJECT / os.environ["DIST"]
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder]
    for what in ([PROJECT], ["--wheel", RUNTIME]):
        subprocess.run([*build, *what], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def wheel(distributions: Path) -> Path:
    return next(distributions.glob("anomalib_fsad-*.whl"))


@pytest.fixture(scope="session")
def runtime_wheel(distributions: Path) -> Path:
    """What a box without torch installs."""
    return next(distributions.glob("anomalib_fsad_runtime-*.whl"))


@pytest.fixture(scope="session")
def installed(new_environment, wheel) -> Scratch:
    """An environment with the wheel installed as ``pip install anomalib-fsad`` would."""
    scratch = new_environment("installed")
    scratch.pip("install", "--no-deps", wheel)
    return scratch
