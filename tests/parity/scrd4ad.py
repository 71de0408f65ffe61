# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD against the authors' figures: forward, both loss forms, maps, scores, and the released form's gradients."""

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from anomalib_fsad.models.components import gaussian_blur
from anomalib_fsad.models.scrd4ad import ContrastiveDistillationLoss, SCRD4ADModel, from_authors
from anomalib_fsad.models.scrd4ad.authors import PREFIXES
from anomalib_fsad.models.scrd4ad.loss import scale_distances
from tests.parity.golden import (
    NORM_TOLERANCE,
    VALUE_TOLERANCE,
    Report,
    as_recorded,
    golden_images,
    golden_state,
    imagenet_normalize,
)

NARROW = 64
"""Channels of a small ResNet's first convolution."""

HEAD = {"scale_head.weight": "mlp.weight", "scale_head.bias": "mlp.bias"}
"""Our names to the authors'."""


def authors_shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the authors' state dict, with the parts that nothing calls."""
    own = SCRD4ADModel(backbone, pre_trained=False).state_dict()
    shapes = {authors_name(name): tuple(value.shape) for name, value in own.items()}
    width = shapes["mlp.weight"][1]
    shapes["bn.conv4.weight"] = (width, 2 * width, 1, 1)
    for leaf in ("weight", "bias", "running_mean", "running_var"):
        shapes[f"bn.bn4.{leaf}"] = (width,)
    shapes["bn.bn4.num_batches_tracked"] = ()
    return shapes


def authors_name(name: str) -> str:
    """What the authors call one of our weights."""
    for theirs, ours in PREFIXES.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return HEAD[name]


def golden_model(backbone: str) -> SCRD4ADModel:
    """The network with golden weights, through the import that a user calls."""
    return from_authors(golden_state(authors_shapes(backbone)), scale_weighting="none").model


def golden_batch(seed: int, count: int, size: int) -> tuple[Tensor, Tensor]:
    """Clean and spoiled images, normalised."""
    clean, noise = golden_images(seed, count, size), golden_images(seed + 7, count, size)
    side, corner = size // 8, size // 4
    noisy = clean.clone()
    noisy[..., corner : corner + side, corner : corner + side] += 0.2 * (2 * noise[..., :side, :side] - 1)
    return imagenet_normalize(clean), imagenet_normalize(noisy)


def check(case: dict[str, Any]) -> Report:
    """Compare one case, in both forms of weighting."""
    report = Report(f"SCRD4AD {case['arch']} {case['size']} px")
    images, noisy = golden_batch(case["image_seed"], case["batch"], case["size"])
    loss = ContrastiveDistillationLoss()
    figures = case["eval"]
    model = golden_model(case["arch"]).eval()
    for suffix in ("weighted", "unweighted"):
        model.weighted = suffix == "weighted"
        with torch.no_grad():
            clean, student, log_weights = model.distil(images)
            spoiled = model.teacher(noisy)
            raw = model.raw_map(images)
            predictions = model(images)
        value = loss(clean, spoiled, student, log_weights)["loss"]
        if log_weights is not None:
            _vector(report, "w", log_weights.exp(), figures["weights"])
            _vector(report, "pull", scale_distances(clean, student), figures["pull_per_scale"])
            _vector(report, "push", scale_distances(spoiled, student), figures["push_per_scale"])
            for scale in range(3):
                report.tensor(f"teacher layer{scale + 1}", clean[scale], figures["teacher"][scale])
                report.tensor(f"student layer{scale + 1}", student[scale], figures["student"][scale])
        report.scalar(
            f"loss {suffix}", value, figures["loss_weighted_outside" if log_weights is not None else "loss_unweighted"]
        )
        report.tensor(f"map {suffix}", raw, figures[f"map_raw_{suffix}"])
        report.tensor(f"blurred map {suffix}", gaussian_blur(raw), figures[f"map_blurred_{suffix}"])
        if log_weights is None:
            _vector(report, "score mean", predictions.pred_score, figures["score_mean"])
            _vector(report, "score max", predictions.anomaly_map.amax((1, 2, 3)), figures["score_max"])
            _gradients(report, model, images, noisy, case["train"])
    return report


def _vector(report: Report, name: str, actual: Tensor, expected: list[Any]) -> None:
    figures = torch.tensor(expected, dtype=torch.float64)
    deviation = ((actual.double() - figures).abs() / figures).max().item()
    report.rows.append((name, deviation, VALUE_TOLERANCE))


def _gradients(report: Report, model: SCRD4ADModel, images: Tensor, noisy: Tensor, figures: dict[str, Any]) -> None:
    with nullcontext() if len(model.teacher.network.layer1[0].conv1.weight) == NARROW else as_recorded():
        value = ContrastiveDistillationLoss()(*model.train()(images, noisy))["loss"]
        value.backward()
    report.scalar("training loss", value.detach(), figures["loss_unweighted"])
    gradients = {authors_name(name): p.grad for name, p in model.named_parameters() if p.requires_grad}
    total = figures["grad_total"]
    report.norms(gradients, figures["grad_norms"], total)
    norm = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
    report.scalar("gradient, all", norm, total, tolerance=NORM_TOLERANCE)
