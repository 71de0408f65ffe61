# SPDX-License-Identifier: Apache-2.0
"""How each program that a document calls is tried without its hours of work: one function for each, in ``PROGRAMS``.

The function raises or fails an assertion where the command would not do. What no function knows is refused.
"""

import io
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import yaml
from anomalib.cli.cli import AnomalibCLI
from packaging.requirements import Requirement

import anomalib_fsad
from anomalib_fsad.cli import VERBS, parser
from tests.docs.documents import PROJECT

RUN_ELSEWHERE = {"tests.parity": "tests/unit/test_parity.py", "tests.docs.tutorials": "tests/docs/test_tutorials.py"}
"""Modules whose own test runs them: their arguments must be files or names that exist."""


def try_command(command: str) -> None:
    """Try a command of a document."""
    program, *arguments = shlex.split(command)
    if program not in PROGRAMS:
        msg = f"There is no way yet to try {command!r}: add one for {program!r} to PROGRAMS in tests/docs/commands.py."
        raise LookupError(msg)
    with chdir(PROJECT):
        PROGRAMS[program](arguments)


def quiet_exit(function: Callable[[], object]) -> tuple[object, str]:
    """Exit status and all that was printed by a call that ends with ``SystemExit``."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            function()
        except SystemExit as end:
            return end.code, printed.getvalue()
    return "no exit", printed.getvalue()


def _anomalib(arguments: Sequence[str]) -> None:
    """Anomalib's own parser takes all options and their types; nothing is built."""
    if arguments[0] == "benchmark":
        _anomalib_benchmark(arguments[arguments.index("--config") + 1])
        return
    status, printed = quiet_exit(lambda: AnomalibCLI(args=[*arguments, "--print_config"], run=False))
    assert status == 0, printed
    assert "class_path" in printed, printed


def _anomalib_benchmark(config: str) -> None:
    cell = yaml.safe_load((PROJECT / config).read_text())["benchmark"]
    for part in ("model", "data"):
        assert cell[part]["class_path"]


def _anomalib_fsad(arguments: Sequence[str]) -> None:
    """Our own parser takes them."""
    verb = arguments[0]
    if verb in VERBS:
        parser(verb).parse_args(arguments)
    status, printed = quiet_exit(lambda: parser(verb).parse_args([*arguments[:1], "--help"]))
    assert status == 0, printed


def _python(arguments: Sequence[str]) -> None:
    """``python -m MODULE``: the module's help names all options."""
    flag, module, *rest = arguments
    assert flag == "-m", f"Only python -m is known, not python {' '.join(arguments)}"
    if module == "anomalib_fsad":
        _anomalib(rest)
        return
    assert find_spec(module), f"There is no module {module}."
    if module in RUN_ELSEWHERE:
        assert (PROJECT / RUN_ELSEWHERE[module]).exists()
        assert all((PROJECT / argument).exists() for argument in rest if "/" in argument)
        return
    # A program of several, such as benchmarks.speed, tells each one's options by its name.
    named = rest[:1] if rest and re.fullmatch(r"[a-z_0-9]+", rest[0]) and module.startswith("benchmarks.") else []
    with patch.object(sys, "argv", [module, *named, "--help"]):
        status, printed = quiet_exit(lambda: runpy.run_module(module, run_name="__main__", alter_sys=True))
    assert status == 0, printed
    unknown = [word for word in rest if word.startswith("--") and word.partition("=")[0] not in printed]
    assert not unknown, f"{module} has no {unknown}:\n{printed}"


def _make(arguments: Sequence[str]) -> None:
    """The target exists and all that it needs."""
    result = subprocess.run(["make", "--dry-run", *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def _pip(arguments: Sequence[str]) -> None:
    """Ordinary requirements, and extras that this project has."""
    verb, *rest = arguments
    assert verb == "install"
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    for word in rest:
        if word.startswith("-"):
            assert word in {"--no-deps", "--editable", "-e"}, word
            continue
        requirement = Requirement(f"{project['name']}{word[1:]}" if word.startswith(".") else word)
        if requirement.name == project["name"]:
            assert requirement.extras <= project["optional-dependencies"].keys(), word


def _pre_commit(arguments: Sequence[str]) -> None:
    """The hooks call what the environment has."""
    assert list(arguments) in (["install"], ["run", "--all-files"])
    for repository in yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]:
        for hook in repository["hooks"]:
            program = shlex.split(hook["entry"])[0]
            assert (Path(sys.executable).parent / program).exists(), hook


PROGRAMS: dict[str, Callable[[Sequence[str]], None]] = {
    "anomalib": _anomalib,
    "anomalib-fsad": _anomalib_fsad,
    "python": _python,
    "make": _make,
    "pip": _pip,
    "pre-commit": _pre_commit,
}

assert anomalib_fsad.__all__  # importing it lets anomalib know our names
