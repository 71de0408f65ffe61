# SPDX-License-Identifier: Apache-2.0
"""One small model, its checkpoint and its bundle, since an export costs half a minute; and toy bundles."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from anomalib_fsad.cli import main
from anomalib_fsad.deploy import FewShotInferencer
from anomalib_fsad.deploy.bundle import Bundle
from anomalib_fsad.deploy.images import images_at, to_rgb
from anomalib_fsad.models.components.checkpoint import save_checkpoint
from anomalib_fsad.models.d24fad import D24FAD
from tests.unit.deploy.pictures import write_mixed, write_normals
from tests.unit.deploy.toy_bundle import write_toy_bundle


class Deployed(NamedTuple):
    model: D24FAD
    checkpoint: Path
    bundle: Path
    normals: Path
    mixed: Path


class Eager(NamedTuple):
    score: float
    label: bool
    anomaly_map: np.ndarray
    raw_score: float
    weights: np.ndarray


def tensor(path: Path) -> Tensor:
    return torch.from_numpy(to_rgb(path)).permute(2, 0, 1)


@torch.no_grad()
def eager(model: D24FAD, path: Path) -> Eager:
    """What anomalib's engine computes of an image: its pre-processor, the model, its post-processor."""
    explained = model.model.predict_with_weights(model.pre_processor.transform(tensor(path)[None]))
    final = model.post_processor(explained.predictions)
    return Eager(
        final.pred_score.item(),
        bool(final.pred_label.item()),
        final.anomaly_map[0, 0].numpy(),
        explained.predictions.pred_score.item(),
        explained.support_weights[0].numpy(),
    )


@torch.no_grad()
def lively(model: D24FAD, images: list[Tensor]) -> None:
    """Let a random network tell images apart: statistics of its own, and weights between even and one-hot."""
    norms = [module for module in model.model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()
    model.model.decode(model.model.teacher(torch.cat([model.pre_processor.transform(i[None]) for i in images]))[-1])
    model.eval()
    generator = torch.Generator().manual_seed(3)
    for projection, strength in zip(model.model.l2w.projections, (0.01, 0.04, 0.16), strict=True):
        channels = len(projection.weight)
        noise = torch.randn(channels, channels, generator=generator) / channels**0.5
        # Not symmetric, so that a projection the wrong way round shows.
        projection.weight.copy_((strength * (torch.eye(channels) + noise))[..., None, None])


@pytest.fixture(scope="session")
def deployed(tmp_path_factory) -> Deployed:
    root = tmp_path_factory.mktemp("deploy")
    normals, mixed = write_normals(root / "normals"), write_mixed(root / "mixed")
    model = D24FAD(k_shot=5, backbone="resnet18", pre_trained=False, image_size=(64, 96))
    lively(model, [tensor(path) for path in (*images_at(normals), *images_at(mixed))])
    model.use_support([tensor(path) for path in images_at(normals)])
    raw = sorted(eager(model, path).raw_score for path in images_at(mixed))
    statistics = {"image_min": raw[0], "image_max": raw[-1], "pixel_min": 0.0, "pixel_max": raw[-1]}
    statistics |= {"_image_threshold": (raw[3] + raw[4]) / 2, "_pixel_threshold": raw[4]}
    for name, value in statistics.items():
        getattr(model.post_processor, name).fill_(value)
    save_checkpoint(model, root / "model.ckpt")
    assert main(["export", str(root / "model.ckpt"), str(root / "bundle")]) == 0
    return Deployed(model, root / "model.ckpt", root / "bundle", normals, mixed)


@pytest.fixture(scope="session")
def inferencer(deployed) -> FewShotInferencer:
    """Compiled once; tests pass their enrolments explicitly, or enrol themselves."""
    return FewShotInferencer(deployed.bundle, backend="openvino")


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Bundle:
    """A bundle without a network, with a checkpoint's threshold."""
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle")


@pytest.fixture(scope="session")
def toy_raw(tmp_path_factory) -> Bundle:
    """The same without any threshold."""
    return write_toy_bundle(tmp_path_factory.mktemp("toy") / "bundle", labelled=False)


@pytest.fixture(scope="session")
def toy_organ(toy, tmp_path_factory) -> Path:
    """Five normal pictures, enrolled in the toy bundle."""
    root = tmp_path_factory.mktemp("organ")
    return FewShotInferencer(toy.folder).enroll(write_normals(root / "normals")).save(root / "organ.npz")
