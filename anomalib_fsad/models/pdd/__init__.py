# SPDX-License-Identifier: Apache-2.0
"""PDD: two frozen teachers of different kind, one fused manifold, two students that differ near the surface.

Example:
    >>> from anomalib_fsad import PDD
    >>> model = PDD(backbone="resnet18", second_backbone=None, pre_trained=False, image_size=64)

See Also:
    - :class:`PDD`: the anomalib model
    - :class:`PDDModel`: teachers, fusion and students
    - :func:`from_authors`: the authors' checkpoints
"""

from anomalib_fsad.models.pdd.authors import from_authors
from anomalib_fsad.models.pdd.lightning_model import PDD
from anomalib_fsad.models.pdd.loss import PDDLoss
from anomalib_fsad.models.pdd.torch_model import PDDModel

__all__ = ["PDD", "PDDLoss", "PDDModel", "from_authors"]
