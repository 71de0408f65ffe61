# SPDX-License-Identifier: Apache-2.0
"""The one table of what this package adds to anomalib; standard library only.

A fourth model is a folder in ``models/`` and a line here. The start-up hook, the public names of the package, the
import of the authors' checkpoints, the ``anomalib-fsad`` command, the benchmarks and the conformance suite read it.
"""

from importlib import import_module
from typing import Any

MODELS: dict[str, str] = {
    "D24FAD": "anomalib_fsad.models.d24fad",
    "SCRD4AD": "anomalib_fsad.models.scrd4ad",
    "PDD": "anomalib_fsad.models.pdd",
}
"""Name of a model -> the module that it is imported from."""

DATA: dict[str, str] = {
    "MedicalFewShot": "anomalib_fsad.data",
    "MedicalFolder": "anomalib_fsad.data",
}
"""Name of a datamodule or a dataset -> the module that it is imported from."""


TOOLS: dict[str, str] = {
    "ReportVisualizer": "anomalib_fsad.report.visualizer",
}
"""What else is public."""


def homes() -> dict[str, str]:
    """Every public name and its module."""
    return {**MODELS, **DATA, **TOOLS}


def load(name: str) -> Any:
    """The class of that name.

    Example:
        >>> load("MedicalFewShot").__name__
        'MedicalFewShot'
    """
    return getattr(import_module(homes()[name]), name)


def model_named(name: str) -> str:
    """The model of that name, in whatever case it is written.

    Example:
        >>> model_named("pdd")
        'PDD'
    """
    for known in MODELS:
        if known.lower() == name.lower():
            return known
    msg = f"There is no model {name!r}: it is one of {sorted(MODELS)}."
    raise ValueError(msg)
