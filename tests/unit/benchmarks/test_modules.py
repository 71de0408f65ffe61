# SPDX-License-Identifier: Apache-2.0
"""Nobody but a reader with time starts most benchmarks: their imports at least are to be there."""

from importlib import import_module
from pkgutil import walk_packages

import pytest

import benchmarks

MODULES = [module.name for module in walk_packages(benchmarks.__path__, "benchmarks.")]


@pytest.mark.parametrize("name", MODULES)
def test_it_can_be_imported(name: str) -> None:
    import_module(name)
