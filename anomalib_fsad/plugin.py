# SPDX-License-Identifier: Apache-2.0
"""How the public names get known to anomalib, and nothing else.

anomalib resolves ``--model NAME`` among the classes that are already imported, and its ``get_model``,
``get_datamodule`` and benchmark look names up in its own modules. ``register`` puts ours there.
"""

import os
import sys
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

from anomalib_fsad import registry


def activate() -> None:
    """Register now if anomalib's models are loaded, else as soon as they are."""
    if "anomalib.models" in sys.modules:
        register()
    else:
        _start_up_module().wait_for_anomalib()


def _start_up_module() -> ModuleType:
    """The start-up hook: at the root of site-packages where this is installed, in the package in a source tree."""
    try:
        return import_module("_anomalib_fsad_startup")
    except ModuleNotFoundError:
        return import_module("anomalib_fsad.startup._anomalib_fsad_startup")


def register() -> None:
    """Make what the registry names reachable by its bare name; calling it again changes nothing.

    What cannot be imported is left out, with one warning that says why; the rest is not hurt by it.
    """
    import anomalib_fsad

    # Not "import anomalib.models": the hook runs before anomalib has its sub-module as an attribute.
    models, data = import_module("anomalib.models"), import_module("anomalib.data")
    for module, names in ((models, registry.MODELS), (data, registry.DATA)):
        for name in names:
            try:
                ours = getattr(anomalib_fsad, name)
            except Exception as error:
                warnings.warn(
                    f"anomalib-fsad: {name} could not be loaded and is left out "
                    f"({type(error).__name__}: {error}); the others are there.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                continue
            _expose(module, name, ours)
    # get_model, and with it the benchmark, imports dotted names from these packages only.
    allowed: set[str] = getattr(models, "ALLOWED_MODULES", set())
    allowed.add("anomalib_fsad")
    if os.environ.get("ANOMALIB_FSAD_WEIGHTS") == "packages":
        # Asked for by the user: anomalib's own models find the trained teachers of installed packages too.
        import_module("anomalib_fsad.models.components.weights").offer_to_timm()


def _expose(module: ModuleType, name: str, ours: Any) -> None:
    theirs = getattr(module, name, ours)
    if theirs is not ours:
        warnings.warn(
            f"{module.__name__} has a {name} of its own, which anomalib-fsad does not overwrite. "
            f"Use the full name of this one: anomalib_fsad.{name}.",
            RuntimeWarning,
            stacklevel=2,
        )
        return
    setattr(module, name, ours)
