# SPDX-License-Identifier: Apache-2.0
"""What the scale weights are worth: SCRD4AD weighted and not, and anomalib's ReverseDistillation, on the phantom set.

    python -m benchmarks.scrd4ad_ablation

All see the same images for as many steps at the same learning rate, with the same frozen teacher, for each of several
seeds. The test lesions come in several sizes. Finished runs are kept: start it again to go on where it stopped.

The teacher is untrained and hardly notices the paper's small rectangle of noise, so that pull and push stay equal for
hundreds of steps (README of the model, "Noise"). Here the noise is larger.
"""

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from anomalib.data import ImageBatch, ImageItem
from anomalib.models import ReverseDistillation
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad import SCRD4AD
from anomalib_fsad.data.phantom.generate import make_phantom
from anomalib_fsad.data.phantom.lesions import LESIONS, Strength
from anomalib_fsad.data.phantom.organs import ORGANS
from anomalib_fsad.models.components import default_pre_processor
from anomalib_fsad.models.scrd4ad.loss import relative_entropy

RESULTS = Path(__file__).parent / "results"
NAME = "scrd4ad_ablation"
METHODS: dict[str, dict[str, Any]] = {
    "outside": {"scale_weighting": "outside"},
    "outside, no penalty": {"scale_weighting": "outside", "collapse_penalty": 0.0},
    "none": {"scale_weighting": "none"},
    "ReverseDistillation": {"scale_weighting": "none"},
}
"""Arguments of SCRD4AD; for the last one, it only lends its teacher."""
NOISE: dict[str, Any] = {"noise_strength": 0.5, "noise_size": (64, 192)}
LEARNING_RATE = 0.005
"""What anomalib's ReverseDistillation trains at."""
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


def build(method: str, seed: int, backbone: str, size: int) -> LightningModule:
    """A model with the teacher that ``seed`` gives."""
    parts: dict[str, Any] = {
        "pre_processor": default_pre_processor(size, normalize=True),
        "post_processor": False,
        "evaluator": False,
        "visualizer": False,
    }
    given = {**METHODS[method], **NOISE, "lr": LEARNING_RATE, "image_size": size, "seed": seed, **parts}
    ours = SCRD4AD(backbone, pre_trained=False, **given)
    if method != "ReverseDistillation":
        return ours
    torch.manual_seed(seed)
    theirs = ReverseDistillation(backbone, pre_trained=False, **parts)
    theirs.model.encoder.load_state_dict(ours.model.teacher.extractor.state_dict())
    return theirs


class Entropies(Callback):
    """Collects the logged entropy of the scale weights, an epoch each."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read what the model logged."""
        del pl_module
        if "scale_entropy" in trainer.callback_metrics:
            self.values.append(round(trainer.callback_metrics["scale_entropy"].item(), 4))


def fit(model: LightningModule, images: Tensor, steps: int, batch: int, seed: int) -> list[float]:
    """Train through Lightning, as anomalib does; the entropies of the scale weights come back."""
    loader = DataLoader(
        [ImageItem(image=image) for image in images],
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        collate_fn=ImageBatch.collate,
        generator=torch.Generator().manual_seed(seed),
    )
    entropies = Entropies()
    trainer = Trainer(
        max_steps=steps,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[entropies],
        num_sanity_val_steps=0,
    )
    trainer.fit(model, loader)
    return entropies.values


@torch.no_grad()
def anomaly_maps(model: LightningModule, images: Tensor, batch: int = 20) -> Tensor:
    """N x n x n."""
    model.eval()
    inputs = (model.pre_processor(chunk) for chunk in images.split(batch))
    return torch.cat([model.model(chunk).anomaly_map[:, 0] for chunk in inputs])


def evaluate(model: LightningModule, sets: Sets) -> Iterator[dict[str, Any]]:
    """A row for each size of lesion."""
    good = anomaly_maps(model, sets.healthy)
    for radius, (images, masks) in sets.ill.items():
        bad = anomaly_maps(model, images)
        maps = torch.cat([good, bad])
        labels = torch.cat([torch.zeros(len(good)), torch.ones(len(bad))]).int()
        truth = torch.cat([torch.zeros_like(masks), masks]).int()
        yield {
            "radius": radius,
            "image_AUROC_mean": binary_auroc(maps.mean((1, 2)), labels).item(),
            "image_AUROC_max": binary_auroc(maps.amax((1, 2)), labels).item(),
            "pixel_AUROC": binary_auroc(maps.flatten(), truth.flatten()).item(),
        }


@torch.no_grad()
def mean_weights(model: LightningModule, images: Tensor) -> dict[str, float]:
    """What the head makes of healthy images: its mean weights and their relative entropy."""
    if not isinstance(model, SCRD4AD) or not model.model.weighted:
        return {}
    weights = model.model.distil(model.pre_processor(images))[2].exp()
    row = {f"w{scale + 1}": value.item() for scale, value in enumerate(weights.mean(0))}
    return {**row, "entropy": relative_entropy(weights).item()}


def run(method: str, seed: int, sets: Sets, options: argparse.Namespace) -> pd.DataFrame:
    """Train and evaluate one model."""
    began = time.perf_counter()
    model = build(method, seed, options.backbone, options.size)
    entropies = fit(model, sets.train, options.steps, options.batch, seed)
    return pd.DataFrame(evaluate(model, sets)).assign(
        **mean_weights(model, sets.train[:32]),
        entropy_by_epoch=" ".join(map(str, entropies)),
        method=method,
        seed=seed,
        seconds=round(time.perf_counter() - began, 1),
        **settings(options),
    )


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What a finished run must share with those that are still to come."""
    return {name: getattr(options, name) for name in ("organ", "backbone", "size", "steps", "batch", "train_images")}


def table(results: pd.DataFrame) -> str:
    """Mean and deviation over the seeds, as markdown."""
    lines = ["| method | score | " + " | ".join(f"radius {r:.2f}" for r in LESION_SIZES) + " |"]
    lines.append("|---|---|" + "---|" * len(LESION_SIZES))
    for metric in ("image_AUROC_mean", "image_AUROC_max", "pixel_AUROC"):
        for method in METHODS:
            chosen = results[results.method == method].groupby("radius")[metric]
            cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(chosen.mean(), chosen.std(ddof=0), strict=True)]
            lines.append(f"| {method} | {metric} | " + " | ".join(cells) + " |")
    lines += ["", "| method | seed | w1 | w2 | w3 | relative entropy | by epoch |", "|---|---|---|---|---|---|---|"]
    for (method, seed), row in results.dropna(subset="w1").groupby(["method", "seed"]).first().iterrows():
        cells = " | ".join(f"{row[name]:.3f}" for name in ("w1", "w2", "w3", "entropy"))
        lines.append(f"| {method} | {seed} | {cells} | {row.entropy_by_epoch} |")
    return "\n".join(lines)


def plot(results: pd.DataFrame, path: Path) -> None:
    """AUROC over the lesion's size."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), constrained_layout=True)
    for axis, metric in zip(axes, ("image_AUROC_mean", "pixel_AUROC"), strict=True):
        for method in METHODS:
            chosen = results[results.method == method].groupby("radius")[metric]
            axis.errorbar(LESION_SIZES, chosen.mean(), chosen.std(ddof=0), marker="o", capsize=3, label=method)
        axis.set(xlabel="lesion radius / half image", title=metric, ylim=(0.4, 1.02))
        axis.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes[0].legend()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Run what is missing, then write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--organ", default="head_ct", choices=sorted(ORGANS))
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--train_images", type=int, default=160)
    parser.add_argument("--test_images", type=int, default=40)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.results.mkdir(parents=True, exist_ok=True)
    csv = options.results / f"{NAME}.csv"
    results = pd.read_csv(csv) if csv.is_file() else pd.DataFrame(columns=["method", "seed", *settings(options)])
    for name, value in settings(options).items():
        results = results[results[name] == value]
    sets = Sets.draw(options)
    for seed in options.seeds:
        for method in METHODS:
            if len(results[(results.method == method) & (results.seed == seed)]):
                continue
            results = pd.concat([results, run(method, seed, sets, options)], ignore_index=True)
            results.to_csv(csv, index=False, float_format="%.4f")
            print(results.tail(len(LESION_SIZES)).to_string(), flush=True)
    (options.results / f"{NAME}.md").write_text(
        f"`python -m benchmarks.{NAME}`: {options.backbone}, random teacher, {options.size} px, {options.steps} steps "
        f"of {options.batch}, organ {options.organ}, {len(options.seeds)} seeds, "
        f"{options.test_images} healthy and {options.test_images} ill test images a size; mean ± deviation.\n\n"
        + table(results)
        + "\n"
    )
    plot(results, options.results / f"{NAME}.png")


if __name__ == "__main__":
    main()
