# SPDX-License-Identifier: Apache-2.0
"""Lets ``anomalib`` know the models of anomalib-fsad by name; docs/how_the_names_get_known.md says why.

Python runs ``install()`` at start (``anomalib_fsad.pth``; from Python 3.15 on ``anomalib_fsad.start``). It imports
nothing: it waits until somebody imports ``anomalib.models`` and has the plug-in registered right after that.
"""

import sys


class _AfterAnomalibModels:
    """A finder that acts once, on ``anomalib.models``, and then takes itself away."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:  # noqa: ARG002
        if name != "anomalib.models" or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def execute_then_register(module):  # noqa: ANN001, ANN202
                execute(module)
                _register()

            spec.loader.exec_module = execute_then_register
        return spec


def _register() -> None:
    try:
        from anomalib_fsad.plugin import register

        register()
    except Exception as error:
        import warnings

        warnings.warn(
            f"anomalib-fsad could not be loaded, so its models are missing: {type(error).__name__}: {error} "
            "(reinstall anomalib-fsad, or set ANOMALIB_FSAD_AUTOLOAD=0 to do without it)",
            RuntimeWarning,
            stacklevel=2,
        )


def install() -> None:
    """Wait for ``anomalib.models``, unless ``ANOMALIB_FSAD_AUTOLOAD=0``."""
    import os

    if os.environ.get("ANOMALIB_FSAD_AUTOLOAD") != "0":
        wait_for_anomalib()


def wait_for_anomalib() -> None:
    """Put the finder in place, once."""
    # By name, not by class: this file is both at the root of site-packages and in the package.
    if not any(type(finder).__name__ == _AfterAnomalibModels.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterAnomalibModels())
