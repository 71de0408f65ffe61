# SPDX-License-Identifier: Apache-2.0
"""Few-shot and medical anomaly detection as a plug-in for anomalib.

The four public names are loaded on first use, so that ``import anomalib_fsad.deploy`` needs neither torch nor anomalib.

Example:
    >>> import anomalib_fsad
    >>> sorted(anomalib_fsad.__all__)
    ['D24FAD', 'MedicalFewShot', 'PDD', 'SCRD4AD']
"""

from typing import TYPE_CHECKING

from anomalib_fsad.lazy import lazy_names
from anomalib_fsad.plugin import activate

if TYPE_CHECKING:
    from anomalib_fsad.data import MedicalFewShot
    from anomalib_fsad.models.d24fad import D24FAD
    from anomalib_fsad.models.pdd import PDD
    from anomalib_fsad.models.scrd4ad import SCRD4AD

__version__ = "0.1.0"
__all__ = ["D24FAD", "PDD", "SCRD4AD", "MedicalFewShot"]

_HOMES = {
    "D24FAD": "anomalib_fsad.models.d24fad",
    "PDD": "anomalib_fsad.models.pdd",
    "SCRD4AD": "anomalib_fsad.models.scrd4ad",
    "MedicalFewShot": "anomalib_fsad.data",
}

__getattr__, __dir__ = lazy_names(__name__, _HOMES)

activate()
