# SPDX-License-Identifier: Apache-2.0
"""The D24FAD network: a frozen teacher, one student for queries and supports, and learnt weights between them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from anomalib.data import InferenceBatch
from torch import Tensor, nn

from anomalib_fsad.models.components import (
    STRIDES,
    ImageScore,
    Teacher,
    check_images,
    gaussian_blur,
    image_score,
    pixel_cosine_distance,
    student_of,
    summed_map,
)
from anomalib_fsad.models.d24fad.explanation import NearestPatch
from anomalib_fsad.models.d24fad.learn_to_weight import LearnToWeight, weigh_partners, weigh_support
from anomalib_fsad.models.d24fad.support import SupportMaps, SupportSet

AT_ONCE = 8
"""Supports that are scored in one call."""


class EpisodeMaps(NamedTuple):
    """The maps that the loss compares, a tensor B x C x H x W for each scale."""

    teacher: list[Tensor]
    student: list[Tensor]
    support: list[Tensor]


class Explained(NamedTuple):
    """A batch's predictions and, beside them, which support they leaned on."""

    predictions: InferenceBatch
    support_weights: Tensor  # B x S x K
    nearest: NearestPatch | None = None  # with matching=nearest


class D24FADModel(nn.Module):
    """Teacher, student and L2W.

    Args:
        backbone: the teacher; the student mirrors it.
        pre_trained: where the teacher's weights come from; see ``Teacher``.
        score: how a map becomes a score.
        sigma: of the Gaussian over the map, in pixels.

    Example:
        >>> import torch
        >>> model = D24FADModel("resnet18", pre_trained=False).eval()
        >>> model.set_support(torch.rand(2, 3, 64, 64))
        >>> predictions = model(torch.rand(5, 3, 64, 64))
        >>> predictions.pred_score.shape, predictions.anomaly_map.shape
        (torch.Size([5]), torch.Size([5, 1, 64, 64]))
    """

    def __init__(
        self,
        backbone: str = "wide_resnet50_2",
        pre_trained: bool | str | Path = True,
        score: ImageScore = "max",
        sigma: float = 4.0,
    ) -> None:
        super().__init__()
        self.teacher = Teacher(backbone, STRIDES, pre_trained=pre_trained)
        *levels, deepest = self.teacher.channels
        # The authors leave out the embedding of reverse distillation: the student decodes the deepest level itself.
        self.student = student_of(backbone, deepest, levels)
        self.l2w = LearnToWeight(levels)
        self.support = SupportSet(scales=3)
        self.image_score = score
        self.sigma = sigma

    def decode(self, deepest: Tensor) -> list[Tensor]:
        """The student's maps, shallow to deep as the teacher's levels at strides 4, 8 and 16."""
        return self.student(deepest)

    def episode(self, query: Tensor, support: Tensor) -> EpisodeMaps:
        """Maps of queries with supports of their own.

        Batch norm sees the queries and each k-th supports by themselves, as in the authors' training; the teacher,
        frozen, takes all images at once.

        Args:
            query: B x 3 x H x W.
            support: B x K x 3 x H x W.
        """
        check_images(query, "D24FAD")
        batch, shots = support.shape[:2]
        *teacher, deepest = self.teacher(torch.cat([query, support.transpose(0, 1).flatten(0, 1)]))
        query_deepest, *support_deepest = deepest.split(batch)
        student = self.decode(query_deepest)
        decoded = [self.decode(level) for level in support_deepest]  # K lists of scales
        values = [torch.stack([decoded[k][scale] for k in range(shots)], dim=1) for scale in range(len(student))]
        scales = zip(student, self.l2w.keys(values), values, strict=True)
        return EpisodeMaps(
            [maps[:batch] for maps in teacher], student, [weigh_support(q, k, v)[0] for q, k, v in scales]
        )

    def in_batch(self, images: Tensor, counts: Tensor) -> EpisodeMaps:
        """Maps of a batch whose images are one another's supports: each passes teacher and student once.

        Args:
            images: B x 3 x H x W.
            counts: how often image j is a support of image i, B x B.
        """
        check_images(images, "D24FAD")
        *teacher, deepest = self.teacher(images)
        student = self.decode(deepest)
        scales = zip(student, self.l2w.keys(student), strict=True)
        return EpisodeMaps(teacher, student, [weigh_partners(maps, keys, counts) for maps, keys in scales])

    def describe(self, images: Tensor) -> SupportMaps:
        """What normal images, ... x 3 x H x W, are compared by: the student's maps and their projections."""
        decoded = self.decode(self.teacher(images.flatten(0, -4))[-1])
        values = [maps.unflatten(0, images.shape[:-3]) for maps in decoded]
        return SupportMaps(self.l2w.keys(values), values)

    def set_support(self, images: Tensor) -> None:
        """Make pre-processed normal images, K x 3 x H x W, the support of all that is scored from now on."""
        check_images(images, "D24FAD")
        # A trainer's predictions run in inference mode, and a tensor made there can never be exported.
        with torch.inference_mode(mode=False):
            self.support.images = images.detach().clone().to(next(self.student.parameters()).device)
        self.encode_support()

    def encode_support(self) -> None:
        """Describe the support by the present weights; called whenever either has changed."""
        training = self.training
        self.eval()
        with torch.inference_mode(mode=False), torch.no_grad():
            self.support.hold(self.describe(self.support.images))
        self.train(training)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Score images, B x 3 x H x W, against the support; each image by itself."""
        return self.predict_with_weights(images).predictions

    def predict_with_weights(self, images: Tensor, support: SupportMaps | None = None) -> Explained:
        """Score images and tell which support each verdict leaned on.

        Args:
            images: B x 3 x H x W.
            support: each image's own, B x K x C x h x w a scale, as in validation; by default the support set.
        """
        with torch.no_grad():
            check_images(images, "D24FAD")
            student = self.decode(self.teacher(images)[-1])
            if support is None:
                self._check_support(images)
                support = self.support.maps
            scales = zip(student, support.keys, support.values, strict=True)
            blended = [weigh_support(q, k, v) for q, k, v in scales]
            predictions = self.verdict(student, [maps for maps, _ in blended], images.shape[-2:])
            weights = torch.stack([weights for _, weights in blended], dim=1)
        return Explained(predictions, weights)

    def verdict(self, student: Sequence[Tensor], support: Sequence[Tensor], size: Sequence[int]) -> InferenceBatch:
        """Where and how far an image's maps are from its blended support's, B x C x h x w for each scale."""
        distances = [pixel_cosine_distance(s, v) for s, v in zip(student, support, strict=True)]
        return self.scored(distances, size)

    def scored(self, distances: Sequence[Tensor], size: Sequence[int]) -> InferenceBatch:
        """One map and its score: the sum of B x 1 x h x w distances for each scale."""
        anomaly_map = gaussian_blur(summed_map(distances, size), self.sigma)
        return InferenceBatch(pred_score=image_score(anomaly_map, self.image_score), anomaly_map=anomaly_map)

    @torch.no_grad()
    def leave_one_out(self, size: Sequence[int]) -> list[InferenceBatch]:
        """Each support image's verdict by the other K - 1; none with a single one.

        Args:
            size: height and width of the maps.
        """
        (keys, values), count = self.support.maps, len(self.support)
        verdicts = []
        for left_out in range(count if count > 1 else 0):
            rest = [k for k in range(count) if k != left_out]
            query = [v[left_out : left_out + 1] for v in values]
            scales = zip(query, keys, values, strict=True)
            verdicts.append(self.verdict(query, [weigh_support(q, k[rest], v[rest])[0] for q, k, v in scales], size))
        return verdicts

    @torch.no_grad()
    def one_by_one(self, others: Sequence[int]) -> Tensor:
        """The raw scores of the K supports by single others, as if each were the whole support: K x len(others)."""
        images = self.support.images
        columns = []
        try:
            for other in others:
                self.set_support(images[other : other + 1])
                columns.append(torch.cat([self(part).pred_score for part in images.split(AT_ONCE)]))
        finally:
            self.set_support(images)
        return torch.stack(columns, dim=1)

    def _check_support(self, images: Tensor) -> None:
        if len(self.support) == 0:
            msg = (
                "D24FAD has no support set to compare with. Fit it, load a checkpoint, or pass "
                "few_shot_source=path/to/folder with k_shot normal images."
            )
            raise ValueError(msg)
        stored = self.support.images.shape[-2:]
        if not torch.compiler.is_compiling() and stored != images.shape[-2:]:
            msg = (
                f"The support set was encoded at another size {tuple(stored)} than these images "
                f"{tuple(images.shape[-2:])}: keep the model's pre-processor, or set the support set anew."
            )
            raise ValueError(msg)
