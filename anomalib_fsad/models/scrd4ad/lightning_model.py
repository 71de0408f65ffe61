# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD: scale-aware contrastive reverse distillation (ICLR 2025, arXiv 2503.13828)."""

from collections.abc import Sequence
from pathlib import Path

import torch
from anomalib.data import Batch
from anomalib.metrics import Evaluator
from anomalib.models.components import AnomalibModule
from anomalib.post_processing import PostProcessor
from anomalib.pre_processing import PreProcessor
from anomalib.visualization import Visualizer
from torch import Tensor

from anomalib_fsad.models.components import (
    CACHE_GIB,
    IMAGE_SCORES,
    CachePlace,
    Detector,
    ImageScore,
    Recipe,
    check_choice,
    checked_size,
    seeded,
)
from anomalib_fsad.models.scrd4ad.loss import ContrastiveDistillationLoss
from anomalib_fsad.models.scrd4ad.spoil import REFERENCE_SIZE, grey_level, noise_patches
from anomalib_fsad.models.scrd4ad.torch_model import Distillation, ScaleWeighting, SCRD4ADModel


class SCRD4AD(Detector, AnomalibModule):
    """A student is pulled to the teacher's features of an image and pushed from those of a spoiled copy.

    Args:
        backbone: the teacher, any timm CNN with maps at strides 4 to 32; the paper's by default.
        pre_trained: ``True`` takes the teacher's weights from an installed package or timm's hub, a path loads a local
            file, ``False`` leaves it random.
        contrast: whether the student is pushed from spoiled copies; without, and with ``scale_weighting=none``, this
            is plain reverse distillation, for trials.
        noise_strength: what the simplex noise is multiplied by before it is added to an image in [0, 1]. Without effect
            if there is no ``contrast``, as the next one.
        noise_size: shortest and longest side of the spoiled rectangle, in an image of 256 pixels.
        scale_weighting: ``outside`` weighs each scale's distance by the scale head, as the paper says; ``none`` counts
            each scale once, which is what the authors' released code computes.
        collapse_penalty: what the loss is charged for uneven scale weights; at 0, the head collapses onto one scale
            (docs/differences/scrd4ad.md). Without effect on ``none``.
        image_score: the map's ``mean`` or ``max``, or the mean of its highest hundredth or tenth (``top1p``,
            ``top10p``).
        image_features: multiply the score by how unlike those trained on the whole image looks to the teacher, 1 for a
            usual one. For what has less texture than a normal image, which the map alone takes for normal.
        lr: learning rate of Adam.
        image_size: images are resized to it; multiples of 32.
        cache_teachers: keep what the teachers say of an image: ``ram`` from epoch to epoch, ``disk`` from run to run
            and for all models that show the same pixels to the same teacher. Augmented images do not come again.
        cache_gib: the most to keep: in each process's memory, or in the folder.
        cache_half: keep it in half precision.
        max_epochs: epochs to train; ``None`` leaves it to the trainer, and to the paper's 40,000 steps if that was told
            nothing.
        seed: of the initial weights, the order of the data and the noise; ``None`` takes what the process has.
        pre_processor: anomalib's; by default resizing, and normalising by the teacher's mean and deviation.
        post_processor: anomalib's.
        evaluator: anomalib's.
        visualizer: anomalib's.

    Example:
        >>> from anomalib_fsad import SCRD4AD
        >>> model = SCRD4AD(backbone="resnet18", pre_trained=False, image_size=64)
        >>> model.learning_type.value
        'one_class'
    """

    architecture = ("backbone", "scale_weighting", "image_score", "image_features")
    recipe = Recipe(40_000, "steps")

    model: SCRD4ADModel

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        contrast: bool = True,
        noise_strength: float = 0.2,
        noise_size: tuple[int, int] = (10, 31),
        scale_weighting: ScaleWeighting = "outside",
        collapse_penalty: float = 0.1,
        image_score: ImageScore = "mean",
        image_features: bool = False,
        lr: float = 1e-3,
        image_size: int | tuple[int, int] = 256,
        cache_teachers: CachePlace = "none",
        cache_gib: float = CACHE_GIB,
        cache_half: bool = False,
        max_epochs: int | None = None,
        seed: int | None = 111,
        pre_processor: PreProcessor | bool = True,
        post_processor: PostProcessor | bool = True,
        evaluator: Evaluator | bool = True,
        visualizer: Visualizer | bool = True,
    ) -> None:
        # Plain data before super().__init__, which stores these very names as the hyper-parameters.
        noise_size = checked_sides(noise_size)
        image_size = checked_size(image_size)
        check_choice("scale_weighting", scale_weighting, ("outside", "none"))
        check_choice("image_score", image_score, IMAGE_SCORES)
        super().__init__(pre_processor, post_processor, evaluator, visualizer)
        self.contrast = contrast
        self.noise_strength = noise_strength
        self.noise_size = noise_size
        with seeded(seed):
            self.model = SCRD4ADModel(
                backbone, pre_trained, scale_weighting, image_score, image_features=image_features
            )
        self.loss = ContrastiveDistillationLoss(collapse_penalty)

    def distil(self, batch: Batch) -> Distillation:
        """Features of the images and of their spoiled copies, which only the teacher sees."""
        noisy = self.spoil(batch.image, self.step_generator()) if self.contrast else None
        return self.model(batch.image, noisy)

    def spoil(self, images: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Copies of ``images``, as the model sees them (B x 3 x H x W), each with a rectangle of simplex noise.

        The noise is meant for images in [0, 1]; behind a normalisation it counts ``1 / std`` times as much.
        """
        level = grey_level(self.pre_processor).to(images)
        return images + self.noise_strength * level * noise_patches(images, self.noise_size, generator=generator)


def checked_sides(noise_size: Sequence[int]) -> tuple[int, int]:
    """``noise_size`` as plain numbers."""
    sides = tuple(int(side) for side in noise_size)
    if len(sides) != 2 or not 1 <= sides[0] <= sides[1] <= REFERENCE_SIZE:  # noqa: PLR2004
        msg = (
            f"noise_size={list(sides)} must be the shortest and the longest side of the spoiled rectangle, "
            f"1 <= shortest <= longest <= {REFERENCE_SIZE}, in pixels of an image of {REFERENCE_SIZE}; "
            "the paper's is [10, 31]."
        )
        raise ValueError(msg)
    return sides[0], sides[1]
