# SPDX-License-Identifier: Apache-2.0
"""PDD against the authors' figures: teachers, manifold, students, map, score, the released loss, its gradients."""

import re
from typing import Any

import torch
from torch import nn

from anomalib_fsad.models.pdd import PDD, PDDLoss, from_authors
from anomalib_fsad.models.pdd.loss import diversity, sum_cosine, sum_mse
from anomalib_fsad.models.pdd.torch_model import raw_map
from tests.parity.golden import (
    LOSS_RESOLUTION,
    NORM_TOLERANCE,
    Report,
    as_recorded,
    golden_images,
    golden_state,
    imagenet_normalize,
)


def authors_name(name: str) -> str:
    """What the authors call one of our trained tensors."""
    name = re.sub(r"^fusion\.adapters\.(\d)\.", lambda match: f"up_dim_v_r{int(match[1]) + 1}.", name)
    return name.replace("mpa.", "mlp.", 1).removeprefix("student.")


def golden_model() -> PDD:
    """The paper's model with golden weights, the trained ones through the import that a user calls."""
    shapes = {name: tensor.shape for name, tensor in PDD(pre_trained=False).model.state_dict().items()}
    decoder = {authors_name(name): shape for name, shape in shapes.items() if not name.startswith("teachers.")}
    model = from_authors(golden_state(decoder), pre_trained=False, visualizer=False, evaluator=False)
    resnet, vmamba = model.model.teachers.networks
    for network in (resnet.network, vmamba):
        fill(network)
    return model


def fill(network: nn.Module) -> None:
    """Give a teacher the golden weights of its own names."""
    network.load_state_dict(golden_state({name: tensor.shape for name, tensor in network.state_dict().items()}))


@as_recorded()
def check(case: dict[str, Any]) -> Report:
    """Compare the one case."""
    report = Report(f"PDD {case['size']} px")
    model = golden_model().model
    images = imagenet_normalize(golden_images(case["image_seed"], case["batch"], case["size"]))
    features = model.teachers(images)
    figures = case["eval"]
    model.eval()
    with torch.no_grad():
        f, a, b = maps = model.distil(features)
        raw = raw_map(maps, images.shape[-2:])
        predictions = model.predictions(maps, images.shape[-2:])
    named = {"resnet": features[0], "vmamba": features[1], "fused": f, "skip_student": a, "plain_student": b}
    for name, levels in named.items():
        for level, (tensor, expected) in enumerate(zip(levels, figures[name], strict=True), start=1):
            report.tensor(f"{name} {level}", tensor, expected)
    report.tensor("map, raw", raw, figures["map_raw"])
    report.tensor("map, blurred", predictions.anomaly_map, figures["map_blurred"])
    for i, score in enumerate(figures["score_max"]):
        report.scalar(f"score {i}", predictions.pred_score[i], score)
    terms(report, "eval", named, figures)

    model.train()
    f, a, b = model.distil(features)
    losses = PDDLoss("released")(f, a, b)
    losses["loss"].backward()
    figures = case["train"]
    terms(report, "train", {"fused": f, "skip_student": a, "plain_student": b}, figures)
    report.scalar("released loss", losses["loss"].detach(), figures["loss_code"])
    gradients = {
        authors_name(name): parameter.grad
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }
    report.norms(gradients, figures["grad_norms"], figures["grad_total"])
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    report.scalar("gradient, total", total, figures["grad_total"], NORM_TOLERANCE)
    return report


def terms(report: Report, mode: str, maps: dict[str, Any], figures: dict[str, Any]) -> None:
    """Compare the parts of the loss, unweighted."""
    f, a, b = (maps[name] for name in ("fused", "skip_student", "plain_student"))
    with torch.no_grad():
        report.scalar(f"{mode}: MSE, skip student", sum_mse(f, a), figures["mse_skip"])
        report.scalar(f"{mode}: MSE, plain student", sum_mse(f, b), figures["mse_plain"])
        report.scalar(f"{mode}: cosine, skip student", sum_cosine(f, a), figures["cos_skip"])
        report.scalar(
            f"{mode}: diversity", diversity(a, b, 0.75, 0.30), figures["diversity"], resolution=LOSS_RESOLUTION
        )
