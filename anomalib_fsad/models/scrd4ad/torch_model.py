# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD's network: a frozen teacher, a bottleneck, a student that decodes it, and a head that weighs the scales."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from anomalib_fsad.models.components import (
    ImageScore,
    KnownImages,
    Teacher,
    check_images,
    check_trainable,
    embedding_of,
    gaussian_blur,
    image_score,
    pixel_cosine_distance,
    student_of,
    summed_map,
)

ScaleWeighting = Literal["outside", "none"]


class Distillation(NamedTuple):
    """What the loss needs; B x C_k x H_k x W_k a scale, shallow to deep."""

    clean: list[Tensor]
    noisy: list[Tensor] | None  # without contrast
    student: list[Tensor]
    log_weights: Tensor | None  # B S


class SCRD4ADModel(nn.Module):
    """Teacher, bottleneck, student and scale head.

    Args:
        backbone: the teacher; the student mirrors it.
        pre_trained: where the teacher's weights come from; see ``Teacher``.
        scale_weighting: ``outside`` weighs loss and map by the head's weights, ``none`` counts each scale once.
        score: how the map becomes the image's score.
        sigma: of the map's Gaussian, in pixels.
        image_features: whether the score is multiplied by how strange the image as a whole looks to the teacher.

    Example:
        >>> import torch
        >>> model = SCRD4ADModel("resnet18", pre_trained=False).eval()
        >>> model(torch.zeros(2, 3, 64, 64)).anomaly_map.shape
        torch.Size([2, 1, 64, 64])
    """

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        scale_weighting: ScaleWeighting = "outside",
        score: ImageScore = "mean",
        sigma: float = 4.0,
        image_features: bool = False,
    ) -> None:
        super().__init__()
        self.known = KnownImages() if image_features else None
        self.teacher = Teacher(backbone, strides=(4, 8, 16), pre_trained=pre_trained)
        channels = self.teacher.channels
        self.bottleneck = embedding_of(backbone, channels)
        self.decoder = student_of(backbone, 2 * channels[-1], channels)
        self.scale_head = nn.Linear(2 * channels[-1], len(channels))
        self.weighted = scale_weighting == "outside"
        self.scale_head.requires_grad_(self.weighted)
        self.image_score = score
        self.sigma = sigma

    def forward(self, images: Tensor, noisy: Tensor | None = None) -> Distillation | InferenceBatch:
        """Features for the loss in training, predictions in evaluation.

        Args:
            images: normalised, B x 3 x H x W, H and W multiples of 32.
            noisy: the same images, spoiled; in training with contrast only.
        """
        if self.training:
            check_trainable(images, "SCRD4AD")
            clean, student, log_weights = self.distil(images)
            # No noise comes twice: not worth remembering.
            spoiled = None if noisy is None else self.teacher.look(noisy)
            return Distillation(clean, spoiled, student, log_weights)
        with torch.no_grad():
            check_images(images, "SCRD4AD")
            clean, student, log_weights = self.distil(images)
            anomaly_map = gaussian_blur(_raw_map(clean, student, log_weights, images.shape[-2:]), self.sigma)
            score = image_score(anomaly_map, self.image_score)
            if self.known is not None:
                score = score * self.known.strangeness(clean)
            return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)

    def looks_of(self, images: Tensor) -> list[Tensor]:
        """What ``image_features`` describes an image by: the teacher's maps."""
        return self.teacher(images)

    def distil(self, images: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor | None]:
        """The teacher's features u, the student's s, and the logarithm of the scales' weights w (B x 3)."""
        clean = self.teacher(images)
        code = self.bottleneck(clean)  # B 2C H/32 W/32
        return clean, self.decoder(code), self.log_scale_weights(code) if self.weighted else None

    def log_scale_weights(self, code: Tensor) -> Tensor:
        """Log of one weight a scale and image, summing to one, from the bottleneck's output: B x 3."""
        return self.scale_head(code.amax((-2, -1))).float().log_softmax(dim=1)

    def raw_map(self, images: Tensor) -> Tensor:
        """``sum_k w_k up(1 - cos(s_k, u_k))``, not yet blurred: B x 1 x H x W."""
        return _raw_map(*self.distil(images), images.shape[-2:])


def _raw_map(
    clean: Sequence[Tensor], student: Sequence[Tensor], log_weights: Tensor | None, size: Sequence[int]
) -> Tensor:
    distances = [pixel_cosine_distance(s, u) for s, u in zip(student, clean, strict=True)]
    return summed_map(distances, size, None if log_weights is None else log_weights.exp())
