# SPDX-License-Identifier: Apache-2.0
"""One variant - a model with a backbone - after the other: fitted once, exported once to each format."""

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from anomalib.data.utils import read_image
from PIL import Image

from anomalib_fsad import registry
from anomalib_fsad.plugin import register
from tests.conformance.tiny import BACKBONES, EVERY, OTHERWISE, TINY
from tests.conftest import cli, same_as_test_arguments

TOY = "tests.conformance.toy"

QUIET: dict[str, Any] = {"accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False}
"""Of an engine in a test."""

EPOCHS = 6
"""Enough for scores that differ by more than rounding."""


class Variant(NamedTuple):
    """A model of the registry with one backbone."""

    name: str
    backbone: str

    @property
    def arguments(self) -> dict[str, Any]:
        more = OTHERWISE.get((self.name, self.backbone), {})
        own = {"backbone": self.backbone, **BACKBONES[self.backbone]}
        return {**own, **EVERY, **TINY.get(self.name, {}), **more}

    def build(self, **more: object) -> Any:
        return registry.load(self.name)(**{**self.arguments, **more})

    def options(self, **more: object) -> list[str]:
        """The same for the command line."""
        given = {**self.arguments, **more}
        values = {name: "null" if value is None else value for name, value in given.items()}
        return [f"--model={self.name}", *(f"--model.{name}={value}" for name, value in values.items())]


class Fitted(NamedTuple):
    """A variant's checkpoint, and the model as that file gives it back."""

    variant: Variant
    checkpoint: Path
    model: Any

    def scores(self, images: torch.Tensor) -> np.ndarray:
        return torch.cat([self.model(batch).pred_score for batch in images.split(16)]).numpy()


QUICK = {"D24FAD": "tf_efficientnet_lite0"}
"""The backbone that a model is tried with in `make test`, if it is not the first; the others are slow."""

FIRST = next(iter(BACKBONES))


def is_quick(variant: Variant) -> bool:
    """Whether `make test` tries it."""
    return variant.backbone == QUICK.get(variant.name, FIRST)


def tried(variant: Variant) -> Any:
    """A parameter of the tests."""
    return pytest.param(variant, marks=[] if is_quick(variant) else [pytest.mark.slow], id="-".join(variant))


REGISTERED = [Variant(name, backbone) for name in registry.MODELS for backbone in BACKBONES]
VARIANTS = [tried(Variant(name, backbone)) for name in [*registry.MODELS, "Toy"] for backbone in BACKBONES]


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> Iterator[Variant]:
    if request.param.name != "Toy":
        yield request.param
        return
    registry.MODELS["Toy"] = TOY  # the one line
    register()
    yield request.param
    del registry.MODELS["Toy"]


@pytest.fixture(scope="session")
def graded_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is fitted: normal training pictures of the kind that ``graded`` scores, and a few of both kinds to test."""
    root = tmp_path_factory.mktemp("graded_root")
    for i in range(12):
        grade(root / f"train/good/{i}.png", seed=i)
    for i in range(4):
        grade(root / f"test/good/{i}.png", seed=20 + i)
        grade(root / f"test/bad/{i}.png", seed=30 + i, strength=(i + 1) / 4)
    return root


@pytest.fixture(scope="session")
def fit(graded_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Variant], Fitted]:
    """Train a variant by ``anomalib fit``, once."""

    @cache
    def run(variant: Variant) -> Fitted:
        root = tmp_path_factory.mktemp("fit")
        cli("fit", *variant.options(max_epochs=EPOCHS), *same_as_test_arguments(graded_root), root=root)
        (checkpoint,) = root.rglob("*.ckpt")
        model = registry.load(variant.name).load_from_checkpoint(checkpoint, map_location="cpu")
        return Fitted(variant, checkpoint, model.eval())

    return run


@pytest.fixture(scope="module")
def fitted(variant: Variant, fit: Callable[[Variant], Fitted]) -> Fitted:
    return fit(variant)


@pytest.fixture(scope="module")
def detector(fitted: Fitted) -> Fitted:
    """A fitted variant that is held to the bounds of low precision; the toy is not: it is ten lines of a detector."""
    if fitted.variant.name == "Toy":
        pytest.skip("the toy tries the verbs, not the bounds")
    return fitted


class Graded(NamedTuple):
    """Pictures from normal to plainly abnormal, with files and labels."""

    folder: Path
    files: list[Path]
    images: torch.Tensor
    labels: np.ndarray


@pytest.fixture(scope="session")
def graded(tmp_path_factory: pytest.TempPathFactory) -> Graded:
    """Thirty-two normal pictures, and as many with a flaw that stands out more and more."""
    folder = tmp_path_factory.mktemp("graded")
    for i in range(64):
        grade(folder / f"{i:02}.png", seed=100 + i, strength=0 if i < 32 else 0.15 + 0.85 * (i - 32) / 31)
    files = sorted(folder.iterdir())
    images = torch.stack([read_image(file, as_tensor=True) for file in files])
    return Graded(folder, files, images, np.arange(64) > 31)


def grade(path: Path, seed: int, strength: float = 0) -> None:
    """A texture as in ``tests.conftest.draw``, of a brightness, contrast and grain of its own, and perhaps a flaw."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(0, 1, 80), np.linspace(0, 1, 72))
    brightness, contrast, grain = rng.uniform(80, 100), rng.uniform(40, 70), rng.uniform(3, 15)
    pixels = brightness + contrast * np.sin(7 * x + rng.uniform(0, 2)) * np.cos(5 * y + rng.uniform(0, 1))
    pixels += rng.normal(0, grain, x.shape)
    top, left = rng.integers(10, 40, 2)
    squares = 250 * (np.indices((24, 24)) // 4).sum(0) % 500  # of a chessboard
    pixels[top : top + 24, left : left + 24] += strength * (squares - pixels[top : top + 24, left : left + 24])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.repeat(pixels.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)).save(path)


def export(fitted: Fitted, kind: str, root: Path, *more: str) -> Path:
    """The folder that ``anomalib export`` writes."""
    where = [f"--ckpt_path={fitted.checkpoint}", f"--export_root={root}"]
    cli("export", *fitted.variant.options(), f"--export_type={kind}", *where, *more, root=root)
    return root / "weights" / kind


@pytest.fixture(scope="module")
def onnx_file(fitted: Fitted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With anomalib's defaults: no input size, so height and width are dynamic."""
    return export(fitted, "onnx", tmp_path_factory.mktemp("onnx")) / "model.onnx"
