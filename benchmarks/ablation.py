# SPDX-License-Identifier: Apache-2.0
"""What the ablations share: images with lesions of several sizes, a short training, runs that can be interrupted."""

import argparse
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anomalib.data import ImageBatch, ImageItem
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from anomalib_fsad.data.phantom.generate import make_phantom
from anomalib_fsad.data.phantom.lesions import LESIONS, Strength
from anomalib_fsad.data.phantom.organs import ORGANS

RESULTS = Path(__file__).parent / "results"
LESION_SIZES = (0.08, 0.13, 0.20, 0.30)
"""Radius as a share of half the image."""
CONTRAST = 0.34
"""Between the phantom set's hard lesions (0.26) and its easy ones (0.42)."""


def as_rgb(pixels: np.ndarray) -> Tensor:
    """An image in [0, 1]: 3 x n x n."""
    pixels = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
    return torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1).contiguous()


def healthy(organ: str, first_seed: int, count: int, size: int) -> Tensor:
    """Patients without a lesion: N x 3 x n x n."""
    return torch.stack([as_rgb(make_phantom(organ, [first_seed, i], size).image) for i in range(count)])


def ill(organ: str, radius: float, count: int, size: int) -> tuple[Tensor, Tensor]:
    """The same patients for each radius, with a lesion of each kind in turn; and their masks, N x n x n."""
    kinds, strength = list(LESIONS), Strength(CONTRAST, radius)
    drawn = [make_phantom(organ, [3, i], size, kinds[i % len(kinds)], strength) for i in range(count)]
    return torch.stack([as_rgb(phantom.image) for phantom in drawn]), torch.from_numpy(
        np.stack([p.mask for p in drawn])
    )


class Sets(NamedTuple):
    """The images of all runs, drawn once."""

    train: Tensor
    healthy: Tensor
    ill: dict[float, tuple[Tensor, Tensor]]

    @classmethod
    def draw(cls, options: argparse.Namespace) -> "Sets":
        """What ``options`` ask for."""
        organ, size, count = options.organ, options.size, options.test_images
        return cls(
            train=healthy(organ, 1, options.train_images, size),
            healthy=healthy(organ, 2, count, size),
            ill={radius: ill(organ, radius, count, size) for radius in LESION_SIZES},
        )


def add_options(parser: argparse.ArgumentParser, *, steps: int, train_images: int) -> None:
    """The options of every ablation."""
    parser.add_argument("--organ", default="head_ct", choices=sorted(ORGANS))
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--train_images", type=int, default=train_images)
    parser.add_argument("--test_images", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for csv, md and png")


def fit(
    model: LightningModule, images: Tensor, steps: int, batch: int, seed: int, callbacks: Sequence[Callback] = ()
) -> None:
    """Train through Lightning, as anomalib does."""
    loader = DataLoader(
        [ImageItem(image=image) for image in images],
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        collate_fn=ImageBatch.collate,
        generator=torch.Generator().manual_seed(seed),
    )
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        num_sanity_val_steps=0,
    )
    trainer.fit(model, loader)


@torch.no_grad()
def anomaly_maps(model: LightningModule, images: Tensor, batch: int = 20) -> Tensor:
    """N x n x n."""
    model.eval()
    inputs = (model.pre_processor(chunk) for chunk in images.split(batch))
    return torch.cat([model.model(chunk).anomaly_map[:, 0] for chunk in inputs])


def run_missing(
    csv: Path,
    methods: Collection[str],
    seeds: Sequence[int],
    settings: dict[str, Any],
    run: Callable[[str, int], pd.DataFrame],
) -> pd.DataFrame:
    """The rows of all methods and seeds; those in ``csv`` that were made with the same settings are not run again.

    Args:
        csv: what is finished, written anew after each run.
        methods: by name.
        seeds: one run of each method a seed.
        settings: columns and values that a finished run must share.
        run: makes the rows of a method and a seed.
    """
    csv.parent.mkdir(parents=True, exist_ok=True)
    results = pd.read_csv(csv) if csv.is_file() else pd.DataFrame(columns=["method", "seed", *settings])
    for name, value in settings.items():
        results = results[results[name] == value]
    for seed in seeds:
        for method in methods:
            if len(results[(results.method == method) & (results.seed == seed)]):
                continue
            rows = run(method, seed)
            results = pd.concat([results, rows], ignore_index=True)
            results.to_csv(csv, index=False, float_format="%.4f")
            print(rows.to_string(), flush=True)
    return results


def plot(results: pd.DataFrame, methods: Iterable[str], metrics: Sequence[str], path: Path) -> None:
    """AUROC over the lesion's size, a panel for each metric."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(metrics), figsize=(4 * len(metrics), 3.2), constrained_layout=True)
    for axis, metric in zip(axes, metrics, strict=True):
        for method in methods:
            chosen = results[results.method == method].groupby("radius")[metric]
            axis.errorbar(LESION_SIZES, chosen.mean(), chosen.std(ddof=0), marker="o", capsize=3, label=method)
        axis.set(xlabel="lesion radius / half image", title=metric, ylim=(0.4, 1.02))
        axis.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes[0].legend(fontsize=7)
    figure.savefig(path, dpi=110)
