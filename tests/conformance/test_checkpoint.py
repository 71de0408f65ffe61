# SPDX-License-Identifier: Apache-2.0
"""A checkpoint holds all that its model needs, and no model takes another's."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from anomalib_fsad.models.components.checkpoint import save_checkpoint
from tests.conformance.conftest import REGISTERED, Fitted, Graded, Variant, is_quick
from tests.conftest import cli, same_as_test_arguments

SCORE_ALL = """
import sys
import torch
from anomalib_fsad import registry

images, *pairs = sys.argv[1:]
images = torch.load(images)
for name, checkpoint in zip(pairs[::2], pairs[1::2]):
    model = registry.load(name).load_from_checkpoint(checkpoint, map_location="cpu").eval()
    torch.save(model(images).pred_score, checkpoint + ".scores")
"""


@pytest.mark.cli
def test_a_fresh_process_without_the_data_gives_the_same_scores(
    fit: Callable[[Variant], Fitted], graded: Graded, tmp_path: Path
) -> None:
    images = graded.images[::16]
    torch.save(images, tmp_path / "images.pt")
    all_fitted = [fit(variant) for variant in REGISTERED if is_quick(variant)]
    pairs = [text for fitted in all_fitted for text in (fitted.variant.name, str(fitted.checkpoint))]
    subprocess.run([sys.executable, "-W", "ignore", "-c", SCORE_ALL, str(tmp_path / "images.pt"), *pairs], check=True)
    for fitted in all_fitted:
        assert np.abs(torch.load(f"{fitted.checkpoint}.scores").numpy() - fitted.scores(images)).max() < 1e-5


@pytest.fixture(scope="session")
def strangers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """An untrained checkpoint of each registered model."""
    folder = tmp_path_factory.mktemp("strangers")
    paths = {variant.name: folder / f"{variant.name}.ckpt" for variant in REGISTERED}
    for variant in REGISTERED:
        if not paths[variant.name].exists():
            save_checkpoint(variant.build(), paths[variant.name])
    return paths


def test_another_models_checkpoint_is_refused(
    variant: Variant, strangers: dict[str, Path], toy_root: Path, tmp_path: Path
) -> None:
    other = next(name for name in strangers if name != variant.name)
    arguments = [*variant.options(), *same_as_test_arguments(toy_root), f"--ckpt_path={strangers[other]}"]
    with pytest.raises(ValueError, match=f"holds {other}, not {variant.name}: check ckpt_path"):
        cli("test", *arguments, root=tmp_path)


def test_another_backbones_checkpoint_is_refused(fitted: Fitted, toy_root: Path, tmp_path: Path) -> None:
    own = fitted.variant.backbone
    other = fitted.variant.options(backbone="resnet34", pre_trained=False)
    arguments = [*other, *same_as_test_arguments(toy_root), f"--ckpt_path={fitted.checkpoint}"]
    with pytest.raises(ValueError, match=rf"backbone='{own}'.*Pass --model\.backbone {own}"):
        cli("test", *arguments, root=tmp_path)
