# SPDX-License-Identifier: Apache-2.0
"""D24FAD: few-shot detection in a task never trained on, by dual distillation and a learnt weighting of the support."""

from anomalib_fsad.models.d24fad.authors import from_authors
from anomalib_fsad.models.d24fad.lightning_model import D24FAD
from anomalib_fsad.models.d24fad.torch_model import D24FADModel

__all__ = ["D24FAD", "D24FADModel", "from_authors"]
