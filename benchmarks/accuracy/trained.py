# SPDX-License-Identifier: Apache-2.0
"""The trainings that ``anomalib-fsad compare --checkpoint last`` left, looked at again."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torchvision.transforms.v2 import Resize

from anomalib_fsad import MedicalFewShot
from anomalib_fsad.compare.building import Teachers, build_model
from anomalib_fsad.compare.cells import NORMALS, Cell
from anomalib_fsad.compare.options import add_comparison_options, chosen_cells
from anomalib_fsad.compare.trainings import Trainings
from anomalib_fsad.plugin import register


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Which runs."""
    add_comparison_options(parser)
    parser.add_argument("--runs", type=Path, required=True, help="the --out of anomalib-fsad compare")


def chosen_runs(options: argparse.Namespace) -> list[Cell]:
    """The cells of the command line."""
    register()
    return chosen_cells(options, threshold=NORMALS)


def trained(cell: Cell, options: argparse.Namespace) -> Any:
    """The model of a cell, as it was trained, without supports.

    Raises:
        FileNotFoundError: if nothing was trained with these options.
    """
    teachers = Teachers(options.pre_trained, options.runs / "weights")
    model, _ = build_model(cell.model_config, cell.training["image_size"], teachers, cell.seed, evaluator=False)
    if Trainings(options.runs / "trainings").load(cell, model) is None:
        msg = f"{options.runs} holds no training of {cell.name}: run anomalib-fsad compare with the same options first."
        raise FileNotFoundError(msg)
    return model.eval()


def tested_on(cell: Cell) -> MedicalFewShot:
    """The data of a cell, set up for a test at its size."""
    size = cell.training["image_size"]
    datamodule = MedicalFewShot(**cell.data_config["init_args"], augmentations=Resize((size, size), antialias=True))
    datamodule.setup("test")
    return datamodule


@torch.no_grad()
def test_batches(model: Any, datamodule: MedicalFewShot) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Pre-processed images and labels of the test set."""
    for batch in datamodule.test_dataloader():
        yield model.pre_processor(batch.image), batch.gt_label
