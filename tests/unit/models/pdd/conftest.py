# SPDX-License-Identifier: Apache-2.0
"""One model, fitted by the real command line."""

from pathlib import Path
from typing import Any

import pytest

from tests.conftest import cli, folder_arguments

TINY: dict[str, Any] = {
    "backbone": "resnet18",
    "second_backbone": "vmamba_atto",
    "pre_trained": False,
    "image_size": 64,
}
SLIM: dict[str, Any] = {**TINY, "second_backbone": None}


def model_arguments(**more: object) -> list[str]:
    given = {name: "null" if value is None else value for name, value in {**TINY, **more}.items()}
    return ["--model=anomalib_fsad.PDD", *(f"--model.{name}={value}" for name, value in given.items())]


@pytest.fixture(scope="session")
def pdd_checkpoint(toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch on five images in batches of two, by ``anomalib fit``."""
    results = tmp_path_factory.mktemp("results")
    cli("fit", *model_arguments(max_epochs=1), *folder_arguments(toy_root), root=results)
    (checkpoint,) = results.rglob("*.ckpt")
    return checkpoint
