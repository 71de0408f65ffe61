# SPDX-License-Identifier: Apache-2.0
"""PDD: dual distillation of a fused manifold (CVPR 2026, arXiv 2603.07142)."""

from collections.abc import Sequence
from typing import cast

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import OptimizerLRScheduler

from anomalib_fsad.models.components import (
    CACHE_GIB,
    CachePlace,
    Detector,
    Recipe,
    check_choice,
    check_trainable,
    checked_size,
    seeded,
)
from anomalib_fsad.models.pdd.loss import Objective, PDDLoss
from anomalib_fsad.models.pdd.options import check_similarity, renamed_teachers
from anomalib_fsad.models.pdd.teachers import PreTrained, checked_names, plain_weights
from anomalib_fsad.models.pdd.torch_model import Distilled, PDDModel

PERIOD, LOWEST_RATE = 40, 0.1
"""The authors anneal for 40 epochs to a tenth of the rate, and, in 100 epochs, back and down again."""


class PDD(Detector, AnomalibModule):
    """Two teachers of different kind, fused to one manifold; two students that imitate it, and differ near the surface.

    Args:
        backbone: the first teacher, which sets all shapes: any timm CNN with maps at strides 4 to 32.
        second_backbone: the second teacher, a VMamba or another such CNN; ``None`` does without, for trials.
        pre_trained: ``True`` takes the teachers' weights from installed packages or the hub, ``False`` leaves them
            random; or one answer or weight file for each teacher, as a list in their order or a mapping from their
            names.
        objective: ``paper``, or ``released`` for what the authors' code minimises (docs/differences/pdd.md).
        share_students: one set of weights for both students, as in the authors' code, or two.
        priors: whether the skip student gets the priors of the deepest level (MPA); without, and with shared weights,
            there is one student.
        kr_weight: what the plain student's squared error counts.
        mse_weight: what the skip student's squared error counts.
        cosine_weight: what the skip student's cosine counts.
        div_weight: what the diversity of the students counts; 0 leaves it out.
        shallow_similarity: how alike the students may be near the surface, the paper's tau_low; the authors tune it for
            each data set.
        deep_similarity: how alike they must be deeper, the paper's tau_high; the same.
        image_features: multiply the score by how unlike those trained on the whole image looks to the first teacher, 1
            for a usual one. For what has less texture than a normal image, which the map alone takes for normal.
        lr: learning rate of Adam, annealed.
        image_size: images are resized to it; multiples of 32.
        cache_teachers: keep what the teachers say of an image: ``ram`` from epoch to epoch, ``disk`` from run to run
            and for all models that show the same pixels to the same teacher. Augmented images do not come again.
        cache_gib: the most to keep: in each process's memory, or in the folder.
        cache_half: keep it in half precision.
        max_epochs: epochs to train; ``None`` leaves it to the trainer, and to the paper's 100 if that was told nothing.
        seed: of the initial weights and the order of the data; ``None`` takes what the process has.
        pre_processor: anomalib's; your own must normalise by the first teacher's mean and deviation.
        post_processor: anomalib's.
        evaluator: anomalib's.
        visualizer: anomalib's.
        teachers: the two names as one list, as releases before 0.2 had it.
        tau_low: the paper's symbol for ``shallow_similarity``.
        tau_high: the paper's symbol for ``deep_similarity``.

    Example:
        >>> from anomalib_fsad import PDD
        >>> model = PDD(backbone="resnet18", second_backbone=None, pre_trained=False, image_size=64)
        >>> model.learning_type.value
        'one_class'
    """

    architecture = ("backbone", "second_backbone", "share_students", "priors", "image_features")
    recipe = Recipe(100)
    default_backbone = "wide_resnet50_2.racm_in1k"

    model: PDDModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2.racm_in1k",
        second_backbone: str | None = "vmamba_tiny",
        pre_trained: PreTrained = True,
        objective: Objective = "paper",
        share_students: bool = True,
        priors: bool = True,
        kr_weight: float = 0.02,
        mse_weight: float = 0.02,
        cosine_weight: float = 0.05,
        div_weight: float = 0.5,
        shallow_similarity: float = 0.75,
        deep_similarity: float = 0.30,
        image_features: bool = False,
        lr: float = 2e-3,
        image_size: int | Sequence[int] = 256,
        cache_teachers: CachePlace = "none",
        cache_gib: float = CACHE_GIB,
        cache_half: bool = False,
        max_epochs: int | None = None,
        seed: int | None = 111,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
        teachers: Sequence[str] | None = None,
        tau_low: float | None = None,
        tau_high: float | None = None,
    ) -> None:
        # Plain data before super().__init__, which stores these very names as the hyper-parameters.
        if teachers is not None:
            backbone, second_backbone = renamed_teachers(teachers)
            teachers = None
        names = checked_names(backbone, second_backbone)
        pre_trained = plain_weights(names, pre_trained)
        image_size = checked_size(image_size)
        check_choice("objective", objective, ("paper", "released"))
        shallow_similarity = check_similarity("shallow_similarity", shallow_similarity, "tau_low", tau_low)
        deep_similarity = check_similarity("deep_similarity", deep_similarity, "tau_high", tau_high)
        tau_low = tau_high = None
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        with seeded(seed):
            self.model = PDDModel(
                names, pre_trained, share_students=share_students, priors=priors, image_features=image_features
            )
        weights = (kr_weight, mse_weight, cosine_weight, div_weight)
        self.loss = PDDLoss(objective, *weights, shallow_similarity, deep_similarity)

    def distil(self, batch: Batch) -> Distilled:
        """The manifold of the batch, and both students' imitations."""
        check_trainable(batch.image, "PDD")
        return self.model.distil(self.model.teachers(batch.image))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over fusion and students, annealed from epoch to epoch."""
        optimizer = cast("torch.optim.Optimizer", super().configure_optimizers())
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PERIOD, eta_min=LOWEST_RATE * self.lr)
        return {"optimizer": optimizer, "lr_scheduler": annealing}
