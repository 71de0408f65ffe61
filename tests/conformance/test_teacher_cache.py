# SPDX-License-Identifier: Apache-2.0
"""Teachers that remember: the same training, and no teacher is shown an image twice, in one run and over several."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from anomalib.data import AnomalibDataModule, Folder
from anomalib.engine import Engine
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchvision.transforms.v2 import RandomHorizontalFlip

from anomalib_fsad.models.components import Remembering
from anomalib_fsad.models.components.teacher_cache import TOGETHER
from tests.conformance.conftest import QUIET, Variant
from tests.conformance.test_data import medical
from tests.conftest import toy_folder

RUNS = [
    pytest.param(Variant("D24FAD", "resnet18"), {"support_mode": "episode"}, id="D24FAD-episode"),
    pytest.param(
        Variant("D24FAD", "resnet18"), {"support_mode": "in_batch"}, id="D24FAD-in_batch", marks=pytest.mark.slow
    ),
    pytest.param(
        Variant("D24FAD", "resnet18"),
        {"matching": "nearest", "spaces": ["teacher"]},
        id="D24FAD-nearest",
        marks=pytest.mark.slow,
    ),
    pytest.param(Variant("SCRD4AD", "resnet18"), {}, id="SCRD4AD"),
    pytest.param(Variant("PDD", "resnet18"), {}, id="PDD"),
]


class Losses(Callback):
    """Of each step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        del trainer, pl_module
        self.values.append(outputs["loss"].item())


class Shown(Counter):
    """How often each image was shown to each network."""

    def attach(self, model: torch.nn.Module) -> "Shown":
        for name, network in model.named_modules():
            if isinstance(network, Remembering):
                setattr(network, "look", self._counting(name, network.look))  # noqa: B010 - mypy
        return self

    def _counting(self, name: str, look: Callable) -> Callable:
        def counted(images: Tensor) -> list[Tensor]:
            self.update({(name, image.numpy().tobytes()) for image in images})
            return look(images)

        return counted


def fit(model: Any, data: AnomalibDataModule, folder: Path) -> list[float]:
    losses = Losses()
    Engine(default_root_dir=folder, callbacks=[losses], max_epochs=2, **QUIET).fit(model, datamodule=data)
    return losses.values


def in_fours(look: Callable) -> Callable:
    """Shown so many at once as a cache shows, and laid out as it lays out, so that convolutions round alike."""

    def looked(images: Tensor) -> list[Tensor]:
        parts = images.split(TOGETHER)
        padded = [part[[*range(len(part)), *[-1] * (TOGETHER - len(part))]] for part in parts]
        answers = [[m[: len(part)] for m in look(images)] for part, images in zip(parts, padded, strict=True)]
        return [torch.cat(level).contiguous() for level in zip(*answers, strict=True)]

    return looked


@pytest.fixture(scope="module")
def medical_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("phantom") / "data"


@pytest.mark.parametrize(("variant", "options"), RUNS)
def test_the_losses_are_the_same_and_no_image_is_shown_twice(
    variant: Variant, options: dict, medical_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly the same where a convolution rounds alike, and but for its rounding where it does not."""
    monkeypatch.setenv("ANOMALIB_FSAD_CACHE", str(tmp_path / "cache"))

    def run(place: str, prepare: Callable[[torch.nn.Module], Any] = lambda model: model) -> tuple[list[float], Any]:
        model = variant.build(cache_teachers=place, **options)
        prepared = prepare(model.model)
        data = medical(medical_root, "episodic" if variant.name == "D24FAD" else "one_class")
        data.source_categories = ["chest_xray"] if variant.name == "D24FAD" else None
        return fit(model, data, tmp_path), prepared

    def look_in_fours(model: torch.nn.Module) -> None:
        for network in model.modules():
            if isinstance(network, Remembering):
                setattr(network, "look", in_fours(network.look))  # noqa: B010 - mypy

    plain, seen = run("none", Shown().attach)
    alike, _ = run("none", look_in_fours)
    first, shown = run("disk", Shown().attach)
    again, later = run("disk", Shown().attach)
    assert max(seen.values()) > 1
    assert set(shown.values()) == {1}
    assert first == again
    if variant.name != "SCRD4AD":  # which looks at its spoiled images as it did
        assert first == alike
        assert not later
    assert first[0] == pytest.approx(plain[0], rel=1e-5)
    assert first == pytest.approx(plain, rel=1e-2)  # and on, as far as training is stable


def test_augmented_images_are_warned_of(toy_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = toy_folder(toy_root)
    augmented = Folder(
        name="toy",
        root=toy_root,
        normal_dir="train/good",
        abnormal_dir="test/bad",
        train_augmentations=RandomHorizontalFlip(),
        num_workers=0,
    )
    for datamodule, warned in ((data, False), (augmented, True)):
        caplog.clear()
        fit(Variant("PDD", "resnet18").build(cache_teachers="ram", second_backbone=None), datamodule, tmp_path)
        assert ("train_augmentations" in caplog.text) is warned


@pytest.mark.parametrize("name", ["D24FAD", "SCRD4AD", "PDD"])
def test_a_wrong_option_is_named_with_the_remedy(name: str) -> None:
    variant = Variant(name, "resnet18")
    with pytest.raises(ValueError, match=r"cache_teachers='gpu' is not one of none, ram, disk"):
        variant.build(cache_teachers="gpu")
    with pytest.raises(ValueError, match=r"cache_gib=0 must be more than 0.*cache_teachers=none"):
        variant.build(cache_gib=0)
