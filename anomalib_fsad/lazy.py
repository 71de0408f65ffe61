# SPDX-License-Identifier: Apache-2.0
"""Public names that are imported on first use (PEP 562), so that importing a package costs next to nothing."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def lazy_names(
    package: str, homes: Callable[[], Mapping[str, str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: its ``__name__``.
        homes: gives the module that each public name is imported from.
    """

    def get(name: str) -> Any:
        home = homes().get(name)
        if home is None:
            msg = f"module {package!r} has no attribute {name!r}"
            raise AttributeError(msg)
        try:
            module = import_module(home)
        except ModuleNotFoundError as error:
            if error.name != ".".join(home.split(".")[:2]):  # the folder as a whole, and not a part or a dependency
                raise
            msg = f"{package}.{name} is not part of anomalib-fsad-runtime: pip install anomalib-fsad instead of it"
            raise ImportError(msg) from error
        value = getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes()})

    return get, names
