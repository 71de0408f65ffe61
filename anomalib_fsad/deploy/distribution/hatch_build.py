# SPDX-License-Identifier: Apache-2.0
"""Which files of anomalib-fsad the runtime is made of: all that needs no torch."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path(__file__).resolve().parents[2]

SINGLE = ("__init__", "cli", "html_page", "lazy", "registry", "threshold")
DATA = ("html_page.css", "py.typed")
VERBS = ("__init__", "common", "enroll", "inspect", "predict")
WHOLE = ("deploy", "images")
WITHOUT = ("deploy/distribution", "deploy/exporting.py", "deploy/graphs.py", "deploy/verifying.py")
"""These need torch, or are not Python of the package."""

SUFFIXES = {".py", ".css", ".js", ".typed"}


def runtime_files() -> list[Path]:
    """Paths within the package."""
    folders = [path.relative_to(PACKAGE) for name in WHOLE for path in (PACKAGE / name).rglob("*")]
    kept = [path for path in folders if path.suffix in SUFFIXES and not path.as_posix().startswith(WITHOUT)]
    names = [*DATA, *(f"{module}.py" for module in SINGLE), *(f"commands/{verb}.py" for verb in VERBS)]
    return sorted([*map(Path, names), *kept])


class RuntimeHook(BuildHookInterface):  # type: ignore[misc]
    """Puts them into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Called by hatchling."""
        del version
        for path in runtime_files():
            build_data["force_include"][str(PACKAGE / path)] = f"anomalib_fsad/{path.as_posix()}"
