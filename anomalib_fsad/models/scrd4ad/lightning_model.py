# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD: scale-aware contrastive reverse distillation (ICLR 2025, arXiv 2503.13828)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor

from anomalib_fsad.models.components import HostMixin, check_choice, checked_size, default_pre_processor, seeded
from anomalib_fsad.models.scrd4ad.loss import ContrastiveDistillationLoss, relative_entropy
from anomalib_fsad.models.scrd4ad.spoil import REFERENCE_SIZE, grey_level, noise_patches
from anomalib_fsad.models.scrd4ad.torch_model import ImageScore, ScaleWeighting, SCRD4ADModel


class SCRD4AD(HostMixin, AnomalibModule):
    """A student is pulled to the teacher's features of an image and pushed from those of a spoiled copy.

    Args:
        backbone: the teacher, a ResNet by its timm name; a bare name means torchvision's first ImageNet weights.
        pre_trained: ``True`` downloads the teacher's weights, a path loads a local file, ``False`` leaves it random.
        noise_strength: what the simplex noise is multiplied by before it is added to an image in [0, 1].
        noise_size: shortest and longest side of the spoiled rectangle, in an image of 256 pixels.
        scale_weighting: ``outside`` weighs each scale's distance by the scale head, as the paper says; ``none`` counts
            each scale once, which is what the authors' released code computes.
        collapse_penalty: what the loss is charged for uneven scale weights; at 0, the head collapses onto one scale
            (README, "Scale weights"). Without effect on ``none``.
        image_score: the map's ``mean`` or ``max``.
        lr: learning rate of Adam.
        image_size: images are resized to it; multiples of 32.
        max_epochs: epochs to train; ``None`` leaves it to the trainer.
        seed: of the initial weights, the order of the data and the noise; ``None`` takes what the process has.
        pre_processor: anomalib's; your own need not normalise.
        post_processor: anomalib's.
        evaluator: anomalib's.
        visualizer: anomalib's.

    Example:
        >>> from anomalib_fsad import SCRD4AD
        >>> model = SCRD4AD(backbone="resnet18", pre_trained=False, image_size=64)
        >>> model.learning_type.value
        'one_class'
    """

    architecture = ("backbone", "scale_weighting", "image_score")

    model: SCRD4ADModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        noise_strength: float = 0.2,
        noise_size: tuple[int, int] = (10, 31),
        scale_weighting: ScaleWeighting = "outside",
        collapse_penalty: float = 0.1,
        image_score: ImageScore = "mean",
        lr: float = 1e-3,
        image_size: int | tuple[int, int] = 256,
        max_epochs: int | None = None,
        seed: int | None = 111,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain data before super().__init__, which stores these very names as the hyper-parameters.
        noise_size = _checked_sides(noise_size)
        image_size = checked_size(image_size)
        check_choice("scale_weighting", scale_weighting, ("outside", "none"))
        check_choice("image_score", image_score, ("mean", "max"))
        if pre_processor is True:
            pre_processor = default_pre_processor(image_size, normalize=True)
        super().__init__(
            pre_processor=pre_processor, post_processor=post_processor, evaluator=evaluator, visualizer=visualizer
        )
        self.noise_strength = noise_strength
        self.noise_size = noise_size
        self.lr = lr
        self.max_epochs = max_epochs
        self.seed = seed
        with seeded(seed):
            self.model = SCRD4ADModel(backbone, pre_trained, scale_weighting, image_score)
        self.loss = ContrastiveDistillationLoss(collapse_penalty)

    @staticmethod
    def configure_pre_processor(image_size: tuple[int, int] | None = None) -> PreProcessor:
        """Resize, and normalise by ImageNet's statistics."""
        return default_pre_processor(image_size or REFERENCE_SIZE, normalize=True)

    def spoil(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Copies of ``images``, as the model sees them (B x 3 x H x W), each with a rectangle of simplex noise.

        The noise is meant for images in [0, 1]; behind a normalisation it counts ``1 / std`` times as much.
        """
        level = grey_level(self.pre_processor).to(images)
        return images + self.noise_strength * level * noise_patches(images, self.noise_size, generator=generator)

    def training_step(self, batch: Batch, batch_idx: int, *args: Any, **kwargs: Any) -> STEP_OUTPUT:
        """Distil one batch; only the teacher sees the spoiled images."""
        del args, kwargs
        images = batch.image
        clean, noisy, student, log_weights = self.model(images, self.spoil(images, self._generator(batch_idx)))
        loss = self.loss(clean, noisy, student, log_weights)
        count = len(images)
        self.log("train_loss", loss.detach(), on_step=True, on_epoch=True, prog_bar=True, batch_size=count)
        if log_weights is not None:
            # 1: all scales count alike; 0: the head has collapsed onto one of them.
            entropy = relative_entropy(log_weights.detach().exp())
            self.log("scale_entropy", entropy, on_step=False, on_epoch=True, batch_size=count)
        return {"loss": loss}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Adam over all that is not frozen."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.Adam(parameters, lr=self.lr, betas=(0.5, 0.999), fused=True)

    def _generator(self, batch_idx: int) -> torch.Generator:
        """Another noise each step, the same in each run: from the seed, the rank and the step."""
        seed = abs(torch.initial_seed()) if self.seed is None else self.seed
        state = np.random.SeedSequence([seed, self.global_rank, self.current_epoch, batch_idx])
        return torch.Generator().manual_seed(int(state.generate_state(1)[0]))


def _checked_sides(noise_size: Sequence[int]) -> tuple[int, int]:
    sides = tuple(int(side) for side in noise_size)
    if len(sides) != 2 or not 1 <= sides[0] <= sides[1] <= REFERENCE_SIZE:  # noqa: PLR2004
        msg = (
            f"noise_size={list(sides)} must be the shortest and the longest side of the spoiled rectangle, "
            f"1 <= shortest <= longest <= {REFERENCE_SIZE}, in pixels of an image of {REFERENCE_SIZE}; "
            "the paper's is [10, 31]."
        )
        raise ValueError(msg)
    return sides[0], sides[1]
