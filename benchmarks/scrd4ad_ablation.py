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
from typing import Any

import pandas as pd
import torch
from anomalib.models import ReverseDistillation
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad import SCRD4AD
from anomalib_fsad.models.components import default_pre_processor
from anomalib_fsad.models.scrd4ad.loss import relative_entropy
from benchmarks.ablation import LESION_SIZES, Sets, add_options, anomaly_maps, fit, plot, run_missing

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
    entropies = Entropies()
    fit(model, sets.train, options.steps, options.batch, seed, [entropies])
    return pd.DataFrame(evaluate(model, sets)).assign(
        **mean_weights(model, sets.train[:32]),
        entropy_by_epoch=" ".join(map(str, entropies.values)),
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


def main() -> None:
    """Run what is missing, then write table and figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, steps=80, train_images=160)
    parser.add_argument("--backbone", default="resnet18")
    options = parser.parse_args()
    csv = options.results / f"{NAME}.csv"
    sets = Sets.draw(options)
    results = run_missing(
        csv, METHODS, options.seeds, settings(options), lambda method, seed: run(method, seed, sets, options)
    )
    (options.results / f"{NAME}.md").write_text(
        f"`python -m benchmarks.{NAME}`: {options.backbone}, random teacher, {options.size} px, {options.steps} steps "
        f"of {options.batch}, organ {options.organ}, {len(options.seeds)} seeds, "
        f"{options.test_images} healthy and {options.test_images} ill test images a size; mean ± deviation.\n\n"
        + table(results)
        + "\n"
    )
    plot(results, METHODS, ("image_AUROC_mean", "pixel_AUROC"), options.results / f"{NAME}.png")


if __name__ == "__main__":
    main()
