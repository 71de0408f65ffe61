# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD, scale-aware contrastive reverse distillation; see README.md beside this file."""

from anomalib_fsad.models.scrd4ad.authors import from_authors
from anomalib_fsad.models.scrd4ad.lightning_model import SCRD4AD
from anomalib_fsad.models.scrd4ad.loss import ContrastiveDistillationLoss
from anomalib_fsad.models.scrd4ad.torch_model import SCRD4ADModel

__all__ = ["SCRD4AD", "ContrastiveDistillationLoss", "SCRD4ADModel", "from_authors"]
