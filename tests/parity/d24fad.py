# SPDX-License-Identifier: Apache-2.0
"""D24FAD against the figures of the authors' network."""

import copy
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import timm
import torch
from anomalib.models.components.backbone import get_decoder
from torch import Tensor, nn

from anomalib_fsad.models.components import gaussian_blur, pixel_cosine_distance, summed_map
from anomalib_fsad.models.d24fad.authors import from_authors
from anomalib_fsad.models.d24fad.loss import distillation
from anomalib_fsad.models.d24fad.torch_model import D24FADModel
from tests.parity.golden import COSINE_RESOLUTION, LOSS_RESOLUTION, Report, as_recorded, golden_images, golden_state

CHANNELS = {"resnet18": (64, 128, 256), "resnet34": (64, 128, 256)}


def golden_networks(arch: str) -> dict[str, dict[str, Tensor]]:
    """The authors' three state dicts, by the golden rule."""
    encoder = {name: tuple(value.shape) for name, value in timm.create_model(arch).state_dict().items()}
    decoder = {name: tuple(value.shape) for name, value in get_decoder(arch).state_dict().items()}
    weight: dict[str, tuple[int, ...]] = {}
    for scale, c in enumerate(CHANNELS.get(arch, (256, 512, 1024)), start=1):
        weight |= {f"proj_in{scale}.weight": (c, c, 1, 1), f"proj_in{scale}.bias": (c,)}
    return {
        name: golden_state(shapes) for name, shapes in (("encoder", encoder), ("decoder", decoder), ("weight", weight))
    }


def check(case: Mapping[str, Any]) -> Report:
    """Forward, losses and gradients."""
    report = Report(f"D24FAD {case['arch']}, K = {case['shots']}")
    networks = golden_networks(case["arch"])
    model = from_authors(networks, backbone=case["arch"], k_shot=case["shots"], image_size=case["size"]).model
    query = golden_images(case["image_seed"], case["batch"], case["size"])
    support = torch.stack(
        [golden_images(case["image_seed"] + 100 + k, case["batch"], case["size"]) for k in range(case["shots"])], dim=1
    )
    _check_eval(report, model.eval(), query, support, case["eval"])
    with nullcontext() if case["arch"] in CHANNELS else as_recorded():
        _check_train(report, model.train(), query, support, case["train"])
    return report


@torch.no_grad()
def _check_eval(report: Report, model: D24FADModel, query: Tensor, support: Tensor, figures: Mapping[str, Any]) -> None:
    maps = model.episode(query, support)
    shots = support.shape[1]
    decoded = [model.decode(model.teacher(support[:, k])[-1]) for k in range(shots)]
    for scale in range(3):
        report.tensor(f"teacher {scale + 1}", maps.teacher[scale], figures["teacher"][scale])
        report.tensor(f"student {scale + 1}", maps.student[scale], figures["student"][scale])
        stacked = torch.stack([decoded[k][scale] for k in range(shots)])
        report.tensor(f"support {scale + 1}", stacked, figures["support"][scale])
        report.tensor(f"weighted {scale + 1}", maps.support[scale], figures["weighted"][scale])
    raw = _raw_map(maps.student, maps.support, query.shape[-2:])
    blurred = gaussian_blur(raw)
    report.tensor("map", raw, figures["map_raw"], COSINE_RESOLUTION)
    report.tensor("map, blurred", blurred, figures["map_blurred"], COSINE_RESOLUTION)
    explained = model.predict_with_weights(query, model.describe(support)).predictions
    for image, (actual, expected) in enumerate(zip(explained.pred_score, figures["score"], strict=True)):
        report.scalar(f"score of image {image}", actual, expected, resolution=COSINE_RESOLUTION)
    ssd = distillation(maps.student, maps.support)
    report.scalar("loss SSD", ssd, figures["loss_ssd"], resolution=LOSS_RESOLUTION)
    report.scalar("loss TSD", distillation(maps.teacher, maps.student), figures["loss_tsd"])

    exact = copy.deepcopy(model).double().episode(query.double(), support.double())
    truth = _raw_map(exact.student, exact.support, query.shape[-2:])
    report.scalar("loss SSD, against float64", ssd, distillation(exact.student, exact.support).item())
    report.exact("map", raw, truth)
    report.exact("map, blurred", blurred, gaussian_blur(truth))
    report.exact(
        "support maps", torch.cat([m.flatten() for m in maps.support]), torch.cat([m.flatten() for m in exact.support])
    )


def _raw_map(student: Sequence[Tensor], support: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    return summed_map([pixel_cosine_distance(s, v) for s, v in zip(student, support, strict=True)], size)


def _check_train(report: Report, model: nn.Module, query: Tensor, support: Tensor, figures: Mapping[str, Any]) -> None:
    maps = model.episode(query, support)
    ssd, tsd = distillation(maps.student, maps.support), distillation(maps.teacher, maps.student)
    loss = ssd + 0.1 * tsd
    loss.backward()
    report.scalar("training loss SSD", ssd, figures["loss_ssd"])
    report.scalar("training loss TSD", tsd, figures["loss_tsd"])
    report.scalar("training loss", loss, figures["loss"])
    gradients = {name: p.grad for name, p in model.student.named_parameters()}
    for scale, projection in enumerate(model.l2w.projections, start=1):
        gradients |= {f"l2w.proj_in{scale}.{name}": p.grad for name, p in projection.named_parameters()}
    report.norms(gradients, figures["grad_norms"], figures["grad_total"])
    total = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
    report.scalar("gradient, all of it", total, figures["grad_total"], tolerance=1e-3)
