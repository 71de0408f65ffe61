# SPDX-License-Identifier: Apache-2.0
"""A fourth model, as small as one can be: a student imitates its teacher. One line in the registry makes it known."""

from typing import Any

import torch
from anomalib.data import Batch, InferenceBatch
from anomalib.models.components import AnomalibModule
from torch import Tensor, nn

from anomalib_fsad.models.components import (
    Detector,
    Recipe,
    Teacher,
    flat_cosine_distance,
    gaussian_blur,
    image_score,
    pixel_cosine_distance,
    seeded,
    student_of,
    summed_map,
)


class ToyModel(nn.Module):
    def __init__(self, backbone: str, pre_trained: bool) -> None:
        super().__init__()
        self.teacher = Teacher(backbone, (4, 8, 16, 32), pre_trained=pre_trained)
        *levels, deepest = self.teacher.channels
        self.student = student_of(backbone, deepest, levels)

    def distil(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        *levels, deepest = self.teacher(images)
        return levels, self.student(deepest)

    def forward(self, images: Tensor) -> InferenceBatch:
        with torch.no_grad():
            distances = [pixel_cosine_distance(s, t) for t, s in zip(*self.distil(images), strict=True)]
            anomaly_map = gaussian_blur(summed_map(distances, images.shape[-2:]))
            return InferenceBatch(pred_score=image_score(anomaly_map, "max"), anomaly_map=anomaly_map)


class ToyLoss(nn.Module):
    def forward(self, teacher: list[Tensor], student: list[Tensor]) -> dict[str, Tensor]:
        return {"loss": sum(flat_cosine_distance(t, s).mean() for t, s in zip(teacher, student, strict=True))}


class Toy(Detector, AnomalibModule):
    recipe = Recipe(5)

    def __init__(
        self,
        backbone: str = "resnet18",
        pre_trained: bool = True,
        lr: float = 1e-3,
        image_size: int = 64,
        max_epochs: int | None = None,
        seed: int | None = 1,
        visualizer: bool = True,
    ) -> None:
        super().__init__(visualizer=visualizer)
        with seeded(seed):
            self.model = ToyModel(backbone, pre_trained)
        self.loss = ToyLoss()

    def distil(self, batch: Batch) -> tuple[Any, ...]:
        return self.model.distil(batch.image)
