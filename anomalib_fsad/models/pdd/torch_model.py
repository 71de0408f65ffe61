# SPDX-License-Identifier: Apache-2.0
"""The PDD network: frozen teachers, one fused manifold, a plain student and one with priors."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from anomalib_fsad.models.components import (
    KnownImages,
    check_images,
    gaussian_blur,
    image_score,
    pixel_cosine_distance,
    summed_map,
)
from anomalib_fsad.models.pdd.fusion import Fusion, PriorBranches
from anomalib_fsad.models.pdd.student import Student
from anomalib_fsad.models.pdd.teachers import PreTrained, Teachers


class Distilled(NamedTuple):
    """Levels 1..3 of the manifold f and of the two students, B x C x H x W each."""

    f: list[Tensor]
    a: list[Tensor]
    b: list[Tensor]


class PDDModel(nn.Module):
    """Teachers, fusion and students.

    Args:
        teachers: names of one or two teachers; the first one's levels fix all other shapes.
        pre_trained: weights of the teachers, see ``teachers.PreTrained``.
        share_students: one set of weights for both students, which then differ by the priors alone.
        priors: whether the skip student gets priors (MPA).
        sigma: of the Gaussian over the map, in pixels.
        image_features: whether the score is multiplied by how strange the image as a whole looks to the first teacher.

    Example:
        >>> import torch
        >>> model = PDDModel(["resnet18"], pre_trained=False).eval()
        >>> predictions = model(torch.rand(2, 3, 64, 64))
        >>> predictions.pred_score.shape, predictions.anomaly_map.shape
        (torch.Size([2]), torch.Size([2, 1, 64, 64]))
    """

    def __init__(
        self,
        teachers: Sequence[str],
        pre_trained: PreTrained = True,
        *,
        share_students: bool = True,
        priors: bool = True,
        sigma: float = 4.0,
        image_features: bool = False,
    ) -> None:
        super().__init__()
        self.known = KnownImages() if image_features else None
        self.teachers = Teachers(teachers, pre_trained)
        first, *second = self.teachers.channels
        self.student = Student(teachers[0], first)
        self.plain_student = None if share_students else Student(teachers[0], first)
        self.fusion = Fusion(first, second[0] if second else None)
        self.mpa = PriorBranches(first) if priors else None
        self.sigma = sigma

    def looks_of(self, images: Tensor) -> list[Tensor]:
        """What ``image_features`` describes an image by: the first teacher's maps."""
        return self.teachers(images)[0]

    def distil(self, features: Sequence[Sequence[Tensor]]) -> Distilled:
        """Fuse what the teachers see, ``features[teacher][level]``, and let both students imitate it."""
        manifold = self.fusion(features)
        m = manifold.deepest
        if self.mpa is None:
            a = self.student(m)
            return Distilled(manifold.levels, a, a if self.plain_student is None else self.plain_student(m))
        priors = self.mpa(manifold)
        if self.plain_student is not None:
            return Distilled(manifold.levels, self.student(m, priors), self.plain_student(m))
        third = self.student.deepest(m)  # the priors come in behind it: once is enough
        return Distilled(manifold.levels, self.student.rest(third, priors), self.student.rest(third))

    def forward(self, images: Tensor) -> InferenceBatch:
        """Score normalised images, B x 3 x H x W with H and W multiples of 32, each by itself."""
        with torch.no_grad():
            check_images(images, "PDD")
            features = self.teachers(images)
            predictions = self.predictions(self.distil(features), images.shape[-2:])
            score = predictions.pred_score
            if self.known is None or score is None:
                return predictions
            return predictions._replace(pred_score=score * self.known.strangeness(features[0]))

    def predictions(self, maps: Distilled, size: Sequence[int]) -> InferenceBatch:
        """Where, and how far at most, both students fail to imitate the manifold."""
        anomaly_map = gaussian_blur(raw_map(maps, size), self.sigma)
        return InferenceBatch(pred_score=image_score(anomaly_map, "max"), anomaly_map=anomaly_map)


def raw_map(maps: Distilled, size: Sequence[int]) -> Tensor:
    """``sum_i up(1 - cos(a_i, f_i)) + sum_i up(1 - cos(b_i, f_i))``: B x 1 x H x W."""
    distances = [
        pixel_cosine_distance(a, f) + pixel_cosine_distance(b, f)
        for f, a, b in zip(maps.f, maps.a, maps.b, strict=True)
    ]
    return summed_map(distances, size)
