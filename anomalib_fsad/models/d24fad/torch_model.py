# SPDX-License-Identifier: Apache-2.0
"""The D24FAD network: a frozen teacher, one student for queries and references, and learnt weights between them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from anomalib.data import InferenceBatch
from anomalib.models.components.backbone import get_decoder
from torch import Tensor, nn

from anomalib_fsad.models.components import (
    Teacher,
    check_images,
    gaussian_blur,
    pixel_cosine_distance,
    summed_map,
)
from anomalib_fsad.models.d24fad.learn_to_weight import LearnToWeight, weigh_references
from anomalib_fsad.models.d24fad.support import SupportSet

ImageScore = Literal["max", "mean"]


class EpisodeMaps(NamedTuple):
    """The maps that the loss compares, a tensor B x C x H x W for each scale."""

    teacher: list[Tensor]
    student: list[Tensor]
    reference: list[Tensor]


class Explained(NamedTuple):
    """A batch's predictions and, beside them, which reference they leaned on."""

    predictions: InferenceBatch
    reference_weights: Tensor  # B x S x K


class D24FADModel(nn.Module):
    """Teacher, student and L2W.

    Args:
        backbone: the teacher, ``resnet18``, ``resnet34``, ``resnet50`` or ``wide_resnet50_2``.
        pre_trained: ``True``, ``False`` or a local weight file of the teacher.
        image_score: how a map becomes a score.
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
        image_score: ImageScore = "max",
        sigma: float = 4.0,
    ) -> None:
        super().__init__()
        self.teacher = Teacher(backbone, stages=(1, 2, 3, 4), pre_trained=pre_trained)
        # The authors leave out the bottleneck of reverse distillation: the student decodes layer4 itself.
        self.student = get_decoder(backbone.split(".", maxsplit=1)[0])
        self.l2w = LearnToWeight(self.teacher.channels[:3])
        self.support = SupportSet(scales=3)
        self.image_score = image_score
        self.sigma = sigma

    def decode(self, layer4: Tensor) -> list[Tensor]:
        """The student's maps, shallow to deep as the teacher's layer1..3."""
        return self.student(layer4)

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
        decoded = [self.decode(layer4) for layer4 in support_deepest]  # K lists of scales
        values = [torch.stack([decoded[k][scale] for k in range(shots)], dim=1) for scale in range(len(student))]
        reference = self._blend(student, self.l2w.keys(values), values)
        return EpisodeMaps([maps[:batch] for maps in teacher], student, reference)

    def in_batch(self, images: Tensor, partners: Tensor) -> EpisodeMaps:
        """Maps of a batch whose images are one another's supports: each passes teacher and student once.

        Args:
            images: B x 3 x H x W.
            partners: for each image the places in the batch of its K supports, B x K.
        """
        check_images(images, "D24FAD")
        *teacher, deepest = self.teacher(images)
        student = self.decode(deepest)
        keys = [projected[partners] for projected in self.l2w.keys(student)]  # B x K x C x H x W
        values = [maps[partners] for maps in student]
        return EpisodeMaps(teacher, student, self._blend(student, keys, values))

    @staticmethod
    def _blend(student: Sequence[Tensor], keys: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
        return [weigh_references(q, k, v)[0] for q, k, v in zip(student, keys, values, strict=True)]

    def set_support(self, images: Tensor) -> None:
        """Make pre-processed normal images, K x 3 x H x W, the references of all that is scored from now on."""
        check_images(images, "D24FAD")
        # A trainer's predictions run in inference mode, and a tensor made there can never be exported.
        with torch.inference_mode(mode=False):
            self.support.images = images.detach().clone().to(next(self.student.parameters()).device)
        self.encode_support()

    def encode_support(self) -> None:
        """Describe the references by the present weights; called whenever either has changed."""
        training = self.training
        self.eval()
        with torch.inference_mode(mode=False), torch.no_grad():
            values = self.decode(self.teacher(self.support.images)[-1])
            self.support.hold(values, self.l2w.keys(values))
        self.train(training)

    def forward(self, images: Tensor) -> InferenceBatch:
        """Score images, B x 3 x H x W, against the support set; each image by itself."""
        return self.explain(images).predictions

    def explain(self, images: Tensor, support: Tensor | None = None) -> Explained:
        """Score images and tell which reference each verdict leaned on.

        Args:
            images: B x 3 x H x W.
            support: references of each image's own, B x K x 3 x H x W, as in validation episodes; by default the
                support set.
        """
        with torch.no_grad():
            check_images(images, "D24FAD")
            student = self.decode(self.teacher(images)[-1])
            if support is None:
                self._check_support(student[0])
                keys, values = self.support.keys, self.support.values
            else:
                decoded = self.decode(self.teacher(support.flatten(0, 1))[-1])
                values = [maps.unflatten(0, support.shape[:2]) for maps in decoded]
                keys = self.l2w.keys(values)
            blended = [weigh_references(q, k, v) for q, k, v in zip(student, keys, values, strict=True)]
            predictions = self.verdict(student, [reference for reference, _ in blended], images.shape[-2:])
            weights = torch.stack([weights for _, weights in blended], dim=1)
        return Explained(predictions, weights)

    def verdict(self, student: Sequence[Tensor], reference: Sequence[Tensor], size: Sequence[int]) -> InferenceBatch:
        """Where and how far an image's maps are from their blended references, B x C x h x w for each scale."""
        distances = [pixel_cosine_distance(s, r) for s, r in zip(student, reference, strict=True)]
        anomaly_map = gaussian_blur(summed_map(distances, size), self.sigma)
        score = anomaly_map.amax(dim=(1, 2, 3)) if self.image_score == "max" else anomaly_map.mean(dim=(1, 2, 3))
        return InferenceBatch(pred_score=score, anomaly_map=anomaly_map)

    def _check_support(self, query: Tensor) -> None:
        if len(self.support) == 0:
            msg = (
                "D24FAD has no support set to compare with. Fit it, load a checkpoint, or pass "
                "few_shot_source=path/to/folder with k_shot normal images."
            )
            raise ValueError(msg)
        stored = self.support.values[0].shape[-2:]
        if not torch.compiler.is_compiling() and stored != query.shape[-2:]:
            msg = (
                f"The support set was encoded at another size (maps of {tuple(stored)}) than these images "
                f"({tuple(query.shape[-2:])}): keep the model's pre-processor, or set the support set anew."
            )
            raise ValueError(msg)
