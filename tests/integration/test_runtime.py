# SPDX-License-Identifier: Apache-2.0
"""anomalib-fsad-runtime: in an environment of what it declares, where there is no torch, its verbs work."""

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from anomalib_fsad import __version__
from tests.integration.conftest import PROJECT, RUNTIME, Scratch
from tests.unit.deploy.pictures import write_normals
from tests.unit.deploy.toy_bundle import write_toy_bundle

IMPORT_ALL = """
import importlib, pkgutil, sys
import anomalib_fsad
for module in pkgutil.walk_packages(anomalib_fsad.__path__, "anomalib_fsad."):
    importlib.import_module(module.name)
print(len([name for name in sys.modules if name.startswith("anomalib_fsad")]))
"""


def needed_by(requirements: list[str]) -> set[str]:
    """The distributions that requirements bring, and what these bring."""
    names: set[str] = set()
    for text in requirements:
        requirement = Requirement(text)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.name not in names:
            names |= {requirement.name} | needed_by(distribution(requirement.name).requires or [])
    return names


@pytest.fixture(scope="module")
def box(tmp_path_factory, runtime_wheel) -> Scratch:
    """An environment with the wheel, and links to what it declares: nothing else can be imported."""
    folder = tmp_path_factory.mktemp("box") / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    packages = next(folder.glob("lib/python3*/site-packages"))
    declared = tomllib.loads((RUNTIME / "pyproject.toml").read_text())["project"]["dependencies"]
    for name in needed_by(declared):
        for file in distribution(name).files or []:
            top = packages / file.parts[0]
            if file.parts[0] != ".." and not top.exists():
                top.symlink_to(Path(str(distribution(name).locate_file(file.parts[0]))))
    scratch = Scratch(folder / "bin/python", packages)
    scratch.pip("install", "--no-deps", runtime_wheel)
    return scratch


def command(box: Scratch, *arguments: object) -> "subprocess.CompletedProcess[str]":
    return box.run(box.python.parent / "anomalib-fsad", *map(str, arguments), check=False)


def test_there_is_no_torch(box):
    for name in ("torch", "anomalib", "pandas"):
        assert "ModuleNotFoundError" in box.run("-c", f"import {name}", check=False, cwd=box.packages).stderr


def test_all_of_it_can_be_imported(box, runtime_wheel):
    held = [name for name in zipfile.ZipFile(runtime_wheel).namelist() if name.endswith(".py")]
    assert int(box.run("-c", IMPORT_ALL, cwd=box.packages).stdout) == len(held)


def test_enrols_predicts_and_inspects(box, tmp_path):
    bundle = write_toy_bundle(tmp_path / "bundle").folder
    normals = write_normals(tmp_path / "normals")
    organ, out = tmp_path / "organ.npz", tmp_path / "out"
    assert command(box, "--version").stdout.strip() == f"anomalib-fsad {__version__}"
    for arguments in (
        ("enroll", bundle, normals, organ),
        ("inspect", organ),
        ("predict", bundle, organ, normals, out, "--report", tmp_path / "report.html"),
    ):
        done = command(box, *arguments)
        assert done.returncode == 0, done.stderr
        assert "warning: anomalib-fsad-runtime is installed beside" not in done.stderr
    assert len((out / "predictions.csv").read_text().splitlines()) == 6
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "model.ckpt", "bundle"],
        ["verify", "bundle", "model.ckpt", "images"],
        ["enroll", "model.ckpt", "images", "o.ckpt"],
        ["demo"],
    ],
)
def test_says_what_the_whole_package_is_needed_for(box, arguments):
    done = command(box, *arguments)
    assert done.returncode == 2
    assert re.search(r"this needs torch and anomalib .* pip install anomalib-fsad\.$", done.stderr.strip())
    assert len(done.stderr.splitlines()) == 1


def test_public_names_of_the_whole_package_say_so_too(box):
    said = box.run("-c", "import anomalib_fsad; anomalib_fsad.D24FAD", check=False, cwd=box.packages).stderr
    assert "anomalib_fsad.D24FAD is not part of anomalib-fsad-runtime: pip install anomalib-fsad" in said


def test_both_in_one_environment_are_told_of(new_environment, wheel, runtime_wheel):
    scratch = new_environment("both")
    scratch.pip("install", "--no-deps", wheel, runtime_wheel)
    said = command(scratch, "inspect", "nowhere").stderr
    assert "anomalib-fsad-runtime is installed beside anomalib-fsad" in said
    assert "pip install --force-reinstall --no-deps anomalib-fsad" in said


def test_it_is_the_same_code(wheel, runtime_wheel):
    """So that both beside one another do no harm while they are of one release."""
    whole, part = zipfile.ZipFile(wheel), zipfile.ZipFile(runtime_wheel)
    shared = [name for name in part.namelist() if name.startswith("anomalib_fsad/")]
    assert len(shared) > 30
    assert all(part.read(name) == whole.read(name) for name in shared)


def test_extras_are_those_of_the_whole_package():
    part, whole = (tomllib.loads((folder / "pyproject.toml").read_text())["project"] for folder in (RUNTIME, PROJECT))
    for extra in ("dicom", "dicom-compressed"):
        assert part["optional-dependencies"][extra] == whole["optional-dependencies"][extra]
    assert part["requires-python"] == whole["requires-python"]
