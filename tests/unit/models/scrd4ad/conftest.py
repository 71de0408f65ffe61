# SPDX-License-Identifier: Apache-2.0
"""One model, fitted by the real command line."""

from pathlib import Path

import pytest

from tests.conftest import cli, same_as_test_arguments

TINY = {"backbone": "resnet18", "pre_trained": False, "image_size": 64}


def model_arguments(**more: object) -> list[str]:
    return ["--model=anomalib_fsad.SCRD4AD", *(f"--model.{k}={v}" for k, v in {**TINY, **more}.items())]


@pytest.fixture(scope="session")
def scrd4ad_checkpoint(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch on five images in batches of two, by ``anomalib fit``."""
    results = tmp_path_factory.mktemp("results")
    cli("fit", *model_arguments(max_epochs=1), *same_as_test_arguments(toy_root), root=results)
    (checkpoint,) = results.rglob("*.ckpt")
    return checkpoint
