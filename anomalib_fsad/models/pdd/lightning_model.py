# SPDX-License-Identifier: Apache-2.0
"""PDD: dual distillation of a fused manifold (CVPR 2026, arXiv 2603.07142)."""

from collections.abc import Sequence
from typing import Any

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor

from anomalib_fsad.models.components import (
    STRIDE,
    HostMixin,
    check_choice,
    check_images,
    checked_size,
    default_pre_processor,
    seeded,
)
from anomalib_fsad.models.pdd.loss import Objective, PDDLoss
from anomalib_fsad.models.pdd.options import check_taus
from anomalib_fsad.models.pdd.teacher_cache import CachePlace, TeacherCache
from anomalib_fsad.models.pdd.teachers import PreTrained, plain_names, plain_weights
from anomalib_fsad.models.pdd.torch_model import PDDModel

PAPER_TEACHERS = ("wide_resnet50_2.racm_in1k", "vmamba_tiny")
PERIOD, LOWEST_RATE = 40, 0.1
"""The authors anneal for 40 epochs to a tenth of the rate, and, in 100 epochs, back and down again."""


class PDD(HostMixin, AnomalibModule):
    """Two teachers of different kind, fused to one manifold; two students that imitate it, and differ near the surface.

    Args:
        teachers: names of the teachers; the paper's by default. ``["resnet18"]`` is a slim form for trials.
        pre_trained: ``True`` downloads the teachers' weights, ``False`` leaves them random; or one weight file (or
            ``True``, or ``False``) for each teacher, as a list in their order or a mapping from their names.
        objective: ``paper``, or ``released`` for what the authors' code minimises (README, "The objective").
        share_students: one set of weights for both students, as in the authors' code, or two.
        priors: whether the skip student gets the priors of the deepest level (MPA); without, and with shared weights,
            there is one student.
        kr_weight: what the plain student's squared error counts.
        mse_weight: what the skip student's squared error counts.
        cosine_weight: what the skip student's cosine counts.
        div_weight: what the diversity of the students counts; 0 leaves it out.
        tau_low: how alike the students may be near the surface; the authors tune it for each data set.
        tau_high: how alike they must be deeper; the same.
        lr: learning rate of Adam, annealed.
        image_size: images are resized to it; multiples of 32.
        cache_teachers: keep the teachers' features of the training images from epoch to epoch, in ``ram`` or on
            ``disk``: about 9 MB for each image of 256 pixels. For training without augmentation.
        cache_gb: the most to keep, in each process.
        max_epochs: epochs to train, before any ``--trainer.max_epochs``; the paper's recipe is 100.
        seed: of the initial weights and the order of the data; ``None`` takes what the process has.
        pre_processor: anomalib's; your own must normalise as ImageNet.
        post_processor: anomalib's.
        evaluator: anomalib's.
        visualizer: anomalib's.

    Example:
        >>> from anomalib_fsad import PDD
        >>> model = PDD(teachers=["resnet18"], pre_trained=False, image_size=64)
        >>> model.learning_type.value
        'one_class'
    """

    architecture = ("teachers", "share_students", "priors")

    model: PDDModel

    def __init__(
        self,
        teachers: Sequence[str] = PAPER_TEACHERS,
        pre_trained: PreTrained = True,
        objective: Objective = "paper",
        share_students: bool = True,
        priors: bool = True,
        kr_weight: float = 0.02,
        mse_weight: float = 0.02,
        cosine_weight: float = 0.05,
        div_weight: float = 0.5,
        tau_low: float = 0.75,
        tau_high: float = 0.30,
        lr: float = 2e-3,
        image_size: int | Sequence[int] = 256,
        cache_teachers: CachePlace = "none",
        cache_gb: float = 4.0,
        max_epochs: int | None = None,
        seed: int | None = 111,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain data before super().__init__, which stores these very names as the hyper-parameters.
        teachers = plain_names(teachers)
        pre_trained = plain_weights(teachers, pre_trained)
        image_size = checked_size(image_size)
        check_choice("objective", objective, ("paper", "released"))
        check_choice("cache_teachers", cache_teachers, ("none", "ram", "disk"))
        check_taus(tau_low, tau_high)
        if pre_processor is True:
            pre_processor = default_pre_processor(image_size, normalize=True)
        super().__init__(
            pre_processor=pre_processor, post_processor=post_processor, evaluator=evaluator, visualizer=visualizer
        )
        self.lr = lr
        self.cache_teachers = cache_teachers
        self.cache_gb = cache_gb
        self.max_epochs = max_epochs
        self.seed = seed
        self.cache: TeacherCache | None = None
        with seeded(seed):
            self.model = PDDModel(teachers, pre_trained, share_students=share_students, priors=priors)
        self.loss = PDDLoss(objective, kr_weight, mse_weight, cosine_weight, div_weight, tau_low, tau_high)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize, and normalise by ImageNet's statistics."""
        return default_pre_processor(image_size or 256, normalize=True)

    def on_fit_start(self) -> None:
        """Make room for the teachers' features."""
        if self.cache_teachers == "none":
            return
        # Not the dataset's own, among which is the model's resize.
        if getattr(getattr(self.trainer, "datamodule", None), "train_augmentations", None) is not None:
            msg = (
                f"cache_teachers={self.cache_teachers} needs the same images in every epoch, but the datamodule "
                "augments them: pass cache_teachers=none, or leave out train_augmentations."
            )
            raise ValueError(msg)
        self.cache = TeacherCache(self.cache_teachers, self.cache_gb)

    def on_fit_end(self) -> None:
        """Let go of them."""
        self.cache = None

    def training_step(self, batch: Batch, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Distil one batch."""
        del args, kwargs
        maps = self.model.distil(self._features(batch.image))
        losses = self.loss(*maps)
        for name, value in losses.items():
            shown = name == "loss"
            label = "train_loss" if shown else f"train_{name}"
            self.log(label, value.detach(), on_step=shown, on_epoch=True, prog_bar=shown, batch_size=len(batch.image))
        return {"loss": losses["loss"]}

    def _features(self, images: Tensor) -> list[list[Tensor]]:
        check_images(images, "PDD")
        if len(images) == 1 and images.shape[-2:].numel() == STRIDE**2:
            msg = (
                "PDD cannot normalise a batch of one image of 32 x 32 pixels, whose deepest level is a single pixel: "
                "raise train_batch_size, drop the last batch, or raise image_size."
            )
            raise ValueError(msg)
        return self.model.teachers(images) if self.cache is None else self.cache.features(images, self.model.teachers)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over fusion and students, annealed from epoch to epoch."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(trained, lr=self.lr, betas=(0.5, 0.999), fused=True)
        annealing = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PERIOD, eta_min=LOWEST_RATE * self.lr)
        return {"optimizer": optimizer, "lr_scheduler": annealing}
