# SPDX-License-Identifier: Apache-2.0
"""D24FAD beside PatchCore and PaDiM on drawn organs: one organ left out, four normal images of it, the same teacher."""

import argparse
import csv
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from anomalib_fsad.commands.common import OK, messages
from anomalib_fsad.compare.options import SIZE, TEACHER
from anomalib_fsad.files import replacing

SHOTS = 4

HEADER = ("model", "image AUROC", "pixel AUROC", "hottest pixel in the lesion")

MODELS = ("D24FAD", "Patchcore", "Padim")

ORGANS = ("brain_mri", "chest_xray", "fundus", "head_ct", "histology", "retina_oct")


def add_arguments(command: argparse.ArgumentParser) -> None:
    """See the module."""
    command.add_argument("--out", type=Path, default=Path("results/demo"), help="folder for images and pictures")
    command.add_argument("--target", choices=ORGANS, default=ORGANS[0], help="the organ that is left out of training")
    command.add_argument("--support-seed", type=int, default=0, help="which four normal images of it are the support")


def run(options: argparse.Namespace) -> int:
    """Train and test the three, then show how they did and where the pictures are."""
    import io
    import logging
    import os
    import warnings
    from contextlib import nullcontext, redirect_stderr

    # A demo's screen is calm: what its user can do nothing about stays out of it.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    os.environ["TQDM_DISABLE"] = "1"
    from anomalib_fsad.models.components.weights import offer_to_timm

    offer_to_timm()
    table = Table(
        *HEADER,
        title=f"{options.target}: {SHOTS} normal images, trained {TEACHER}, {SIZE} px",
        title_justify="left",
    )
    rows, lines = [], []
    for name in track(MODELS, "Training and testing", console=messages, transient=True):
        # The images are the same for all: one table of them is enough.
        with nullcontext() if name == MODELS[0] else redirect_stderr(io.StringIO()):
            figures, pictures = measure(models()[name](), options)
        rows.append(pictures)
        lines.append([name, *(f"{value:.3f}" for value in figures)])
        table.add_row(*lines[-1])
    Console().print(table)
    with replacing(options.out / "figures.csv") as draft, draft.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([HEADER, *lines])
    messages.print(f"Pictures: {rows[0]}", markup=False, highlight=False, soft_wrap=True)
    return OK


def measure(model: Any, options: argparse.Namespace) -> tuple[tuple[float, float, float], Path]:
    """Image and pixel AUROC, the share of lesions that the map is hottest in, and where its pictures lie."""
    from anomalib.engine import Engine
    from torchmetrics.functional.classification import binary_auroc

    from anomalib_fsad import D24FAD, MedicalFewShot
    from anomalib_fsad.compare.recorder import Recorder

    episodic = isinstance(model, D24FAD)
    data = MedicalFewShot(
        options.out / "phantom",
        options.target,
        reader="phantom",
        reader_args={"image_size": SIZE, "n_train": 40, "n_test": 30},
        protocol="episodic" if episodic else "few_shot",
        same_category_batches=episodic,
        k_shot=SHOTS,
        support_seed=options.support_seed,
        val_images=8,
        num_workers=0,
    )
    recorder = Recorder()
    engine = Engine(
        max_epochs=1,
        default_root_dir=options.out,
        callbacks=[recorder],
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    engine.fit(model, datamodule=data)
    engine.test(model, datamodule=data, verbose=False)
    maps, masks = recorder.maps_and_masks or (recorder.scores, recorder.labels)
    ill = recorder.labels == 1
    places = maps[ill].flatten(1).argmax(1)
    hits = masks[ill].flatten(1).gather(1, places[:, None]).float().mean().item()
    pixels = binary_auroc(maps.flatten() / maps.max(), masks.flatten().int()).item()
    images = binary_auroc(recorder.scores / recorder.scores.max(), recorder.labels).item()
    return (images, pixels, hits), Path(engine.trainer.default_root_dir) / "images"


def ours(**more: Any) -> Any:
    """The quickstart's D24FAD; its options are those that do best on the other organs (benchmarks.accuracy demo)."""
    from anomalib_fsad import D24FAD

    quickstart = {"support_mode": "in_batch", "matching": "nearest", "spaces": ["teacher"], "augment_support": True}
    return D24FAD(**{"backbone": TEACHER, "image_size": SIZE, "lr": 3e-4, **quickstart, **more})


def models() -> dict[str, Any]:
    """What is compared: the quickstart's D24FAD, and two of anomalib's own at the same teacher's strides."""
    from anomalib.models import Padim, Patchcore

    from anomalib_fsad.models.components.detector import pre_processor_for

    def theirs(kind: Any, **more: Any) -> Any:
        return kind(backbone=TEACHER, pre_processor=pre_processor_for(TEACHER, SIZE), **more)

    return {
        "D24FAD": ours,
        "Patchcore": lambda: theirs(Patchcore, layers=["blocks.2", "blocks.4"], coreset_sampling_ratio=1.0),
        "Padim": lambda: theirs(Padim, layers=["blocks.1", "blocks.2", "blocks.4"], n_features=100),
    }
