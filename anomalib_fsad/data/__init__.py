# SPDX-License-Identifier: Apache-2.0
"""Medical images for few-shot anomaly detection: the datamodule, its batches, the readers of public sets.

Everything is loaded on first use.
"""

from typing import TYPE_CHECKING

from anomalib_fsad.lazy import lazy_names

if TYPE_CHECKING:
    from anomalib_fsad.data.batch import FewShotBatch, FewShotItem
    from anomalib_fsad.data.datamodule import MedicalFewShot
    from anomalib_fsad.data.dataset import FewShotDataset
    from anomalib_fsad.data.medical_folder import MedicalFolder

__all__ = ["FewShotBatch", "FewShotDataset", "FewShotItem", "MedicalFewShot", "MedicalFolder"]

_HOMES = {
    "FewShotBatch": "anomalib_fsad.data.batch",
    "FewShotDataset": "anomalib_fsad.data.dataset",
    "FewShotItem": "anomalib_fsad.data.batch",
    "MedicalFewShot": "anomalib_fsad.data.datamodule",
    "MedicalFolder": "anomalib_fsad.data.medical_folder",
}

__getattr__, __dir__ = lazy_names(__name__, lambda: _HOMES)
