# SPDX-License-Identifier: Apache-2.0
"""What is uploaded: complete, accepted by the index's own check, and harmless where nothing else is installed."""

import subprocess
import sys
import tarfile
import zipfile

import pytest

from anomalib_fsad import __version__
from tests.integration.conftest import PROJECT, Scratch


def test_twine_accepts_both(distributions):
    files = sorted(distributions.glob(f"anomalib_fsad-{__version__}*"))
    assert [file.suffix for file in files] == [".whl", ".gz"]
    result = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("PASSED") == 2


def test_the_wheel_holds_the_package_and_the_hook_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    packaged = {str(file.relative_to(PROJECT)) for file in (PROJECT / "anomalib_fsad").rglob("*.py")}
    elsewhere = {"startup/_anomalib_fsad_startup.py", "deploy/distribution/hatch_build.py"}  # at the root; for building
    assert packaged - names == {f"anomalib_fsad/{name}" for name in elsewhere}
    assert {"anomalib_fsad/py.typed", "anomalib_fsad/models/d24fad/README.md"} <= names
    assert {name.partition("/")[0] for name in names} == {
        "anomalib_fsad",
        f"anomalib_fsad-{__version__}.dist-info",
        "_anomalib_fsad_startup.py",
        "anomalib_fsad.pth",
        "anomalib_fsad.start",
    }


def test_the_sdist_can_be_worked_on(distributions):
    with tarfile.open(next(distributions.glob("*.tar.gz"))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    needed = {
        "Makefile",
        "constraints.txt",
        "mkdocs.yml",
        "pyproject.toml",
        "LICENSE",
        "CITATION.cff",
        "CONTRIBUTING.md",
    }
    assert needed <= names
    assert {"tests/conftest.py", "docs/data.md", "configs/quickstart.yaml", "benchmarks/README.md"} <= names
    assert not [name for name in names if "__pycache__" in name or name.startswith(("results/", ".venv"))]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory, wheel) -> Scratch:
    """An environment that holds the wheel and nothing else."""
    folder = tmp_path_factory.mktemp("bare") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin/python"
    packages = next(folder.glob("lib/python3*/site-packages"))
    scratch = Scratch(python, packages)
    scratch.pip("install", "--no-deps", wheel)
    return scratch


def test_the_wheel_alone_does_no_harm(bare):
    assert bare.run("-c", "pass").stderr == ""
    assert bare.run("-c", "import anomalib_fsad; print(anomalib_fsad.__version__)").stdout.strip() == __version__


def test_the_command_answers_without_its_dependencies(bare):
    command = bare.python.parent / "anomalib-fsad"
    assert __version__ in subprocess.check_output([command, "--version"], text=True)
    assert "predict" in subprocess.check_output([command, "--help"], text=True)
