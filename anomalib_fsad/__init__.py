# SPDX-License-Identifier: Apache-2.0
"""Few-shot and medical anomaly detection as a plug-in for anomalib.

The public names are those of :mod:`anomalib_fsad.registry`. They are loaded on first use, so that
``import anomalib_fsad.deploy`` needs neither torch nor anomalib.

Example:
    >>> import anomalib_fsad
    >>> "D24FAD" in dir(anomalib_fsad)
    True
"""

from contextlib import suppress

from anomalib_fsad import registry
from anomalib_fsad.lazy import lazy_names

__version__ = "0.2.0"
__all__ = sorted(registry.homes())  # noqa: PLE0605 - a list of names, made of the registry's

__getattr__, __dir__ = lazy_names(__name__, registry.homes)

# The distribution without torch holds no models, and no plug-in.
with suppress(ModuleNotFoundError):
    from anomalib_fsad.plugin import activate

    activate()
