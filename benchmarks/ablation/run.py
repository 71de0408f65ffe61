# SPDX-License-Identifier: Apache-2.0
"""Train every variant of a yaml file on the same images, with the same teacher, and test it on lesions of each size."""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pandas as pd
import torch
import yaml
from anomalib.data import ImageBatch, ImageItem
from anomalib.models import AnomalibModule
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad.compare.building import Teachers, arguments_of, build_model
from anomalib_fsad.compare.options import pre_trained
from anomalib_fsad.compare.page import Table, Text
from anomalib_fsad.compare.report import pm
from anomalib_fsad.data.phantom.organs import ORGANS
from anomalib_fsad.files import replacing
from anomalib_fsad.plugin import register
from benchmarks.ablation.images import LESION_SIZES, Sets
from benchmarks.command import parser_of
from benchmarks.page import add_place, command, made_with, write

METRICS = {
    "image_AUROC_max": "image AUROC of the map's maximum",
    "image_AUROC_mean": "image AUROC of the map's mean",
    "pixel_AUROC": "pixel AUROC",
}


def variant(recipe: dict[str, Any], method: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The configuration of a method: what it changes of the base, or another model altogether."""
    base, change = recipe["base"], recipe["methods"][method]
    given = {**base.get("init_args", {}), **change} if "class_path" not in change else change.get("init_args", {})
    class_path = change.get("class_path", base["class_path"])
    common = {"backbone": options.backbone, "image_size": options.size, "seed": seed}
    accepted = arguments_of(class_path)
    common = {name: value for name, value in common.items() if name in accepted and value is not None}
    return {"class_path": class_path, "init_args": {**given, **common}}


class Logged(Callback):
    """Collects what the model logged, an epoch each."""

    def __init__(self, names: Sequence[str]) -> None:
        self.values: dict[str, list[str]] = {name: [] for name in names}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read it."""
        del pl_module
        for name, values in self.values.items():
            if name in trainer.callback_metrics:
                values.append(f"{trainer.callback_metrics[name].item():.3f}")


def fit(model: LightningModule, images: Tensor, steps: int, batch: int, seed: int, callback: Callback) -> None:
    """Train through Lightning, as anomalib does."""
    loader = DataLoader(
        [ImageItem(image=image) for image in images],
        batch_size=batch,
        shuffle=True,
        drop_last=True,
        collate_fn=ImageBatch.collate,
        generator=torch.Generator().manual_seed(seed),
    )
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = Trainer(
        max_steps=steps, accelerator="cpu", devices=1, callbacks=[callback], num_sanity_val_steps=0, **quiet
    )
    trainer.fit(model, loader)


@torch.no_grad()
def anomaly_maps(model: AnomalibModule, images: Tensor, batch: int = 20) -> Tensor:
    """N x n x n."""
    model.eval()
    inputs = (model.pre_processor(chunk) for chunk in images.split(batch))
    return torch.cat([model.model(chunk).anomaly_map[:, 0] for chunk in inputs])


def evaluate(model: AnomalibModule, sets: Sets) -> Iterator[dict[str, float]]:
    """A row for each size of lesion."""
    good = anomaly_maps(model, sets.healthy)
    for radius, (images, masks) in sets.ill.items():
        maps = torch.cat([good, anomaly_maps(model, images)])
        labels = torch.cat([torch.zeros(len(good)), torch.ones(len(images))]).int()
        truth = torch.cat([torch.zeros(good.shape), masks]).int()
        yield {
            "radius": radius,
            "image_AUROC_max": binary_auroc(maps.amax((1, 2)), labels).item(),
            "image_AUROC_mean": binary_auroc(maps.mean((1, 2)), labels).item(),
            "pixel_AUROC": binary_auroc(maps.flatten(), truth.flatten()).item(),
        }


def run(recipe: dict[str, Any], method: str, seed: int, sets: Sets, options: argparse.Namespace) -> pd.DataFrame:
    """Train and evaluate one model."""
    began = time.process_time()
    bare = {"post_processor": False, "evaluator": False, "visualizer": False}
    with TemporaryDirectory() as scratch:
        teachers = Teachers(options.pre_trained, Path(scratch))
        model, _ = build_model(variant(recipe, method, options, seed), options.size, teachers, seed, **bare)
    logged = Logged(recipe.get("logged", []))
    fit(model, sets.train, options.steps, options.batch, seed, logged)
    by_epoch = {f"{name} by epoch": " ".join(values) for name, values in logged.values.items()}
    seconds = round(time.process_time() - began, 1)
    return pd.DataFrame(evaluate(model, sets)).assign(method=method, seed=seed, cpu_seconds=seconds, **by_epoch)


def run_missing(csv: Path, recipe: dict[str, Any], options: argparse.Namespace) -> pd.DataFrame:
    """The rows of all methods and seeds; runs in ``csv`` that were made with the same options are not made again."""
    settings = {
        name: str(getattr(options, name))
        for name in ("organ", "backbone", "pre_trained", "size", "steps", "batch", "train_images", "test_images")
    } | {"recipe": sha256(json.dumps([recipe["base"], recipe["methods"]]).encode()).hexdigest()[:12]}
    known = pd.read_csv(csv, dtype=dict.fromkeys(settings, str), keep_default_na=False) if csv.is_file() else None
    if known is None or not {*settings, *METRICS} <= set(known):
        known = pd.DataFrame(columns=["method", "seed", *settings])
    csv.parent.mkdir(parents=True, exist_ok=True)
    sets = Sets.draw(options)

    def alike(rows: pd.DataFrame) -> pd.DataFrame:
        return rows[(rows[list(settings)] == pd.Series(settings)).all(axis=1)]

    for seed in options.seeds:
        for method in recipe["methods"]:
            done = alike(known)
            if len(done[(done["method"] == method) & (done["seed"] == seed)]):
                continue
            rows = run(recipe, method, seed, sets, options).assign(**settings)
            known = pd.concat([known, rows], ignore_index=True)
            with replacing(csv) as draft:
                known.to_csv(draft, index=False, float_format="%.4f")
            print(rows[["method", "seed", "radius", *METRICS]].to_string(index=False), flush=True)
    chosen = alike(known)
    return chosen[chosen["seed"].isin(options.seeds) & chosen["method"].isin(list(recipe["methods"]))]


def tables(results: pd.DataFrame, recipe: dict[str, Any]) -> Iterator[Table]:
    """Mean and deviation over the seeds; then what was logged."""
    lines = []
    for metric, title in METRICS.items():
        for method in recipe["methods"]:
            chosen = results[results["method"] == method]
            groups = [*chosen.groupby("radius")[metric], ("mean", chosen.groupby("seed")[metric].mean())]
            lines.append([method, title, *(pm(values.mean(), values.std(ddof=0)) for _, values in groups)])
    yield Table(["method", "score", *(f"radius {r:.2f}" for r in LESION_SIZES), "mean"], lines)
    columns = [f"{name} by epoch" for name in recipe.get("logged", [])]
    if columns:
        first = results.drop_duplicates(["method", "seed"])
        yield Table.of(first[(first[columns].fillna("") != "").any(axis=1)][["method", "seed", *columns]])


def picture(results: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """AUROC over the lesion's size, a panel for each metric."""
    figure = Figure(figsize=(4 * len(METRICS), 3.2), layout="constrained")
    axes = figure.subplots(1, len(METRICS))
    for axis, metric in zip(axes, METRICS, strict=True):
        for method in methods:
            chosen = results[results["method"] == method].groupby("radius")[metric]
            axis.errorbar(LESION_SIZES, chosen.mean(), chosen.std(ddof=0), marker="o", capsize=3, label=method)
        axis.set(xlabel="lesion radius / half image", title=metric, ylim=(0.4, 1.02))
        axis.axhline(0.5, color="grey", linewidth=0.8, linestyle=":")
    axes[0].legend(fontsize=7)
    return figure


def main(file: Path, arguments: Sequence[str]) -> None:
    """Run what is missing, then write table and figure."""
    recipe = yaml.safe_load(file.read_text())
    about = (
        f"{recipe['title']}.\n\n{recipe['notes']}\nFinished runs are kept: start it again to go on where it stopped."
    )
    parser = parser_of(f"ablation {file.stem}", about)
    add = parser.add_argument
    add("--organ", default="head_ct", choices=sorted(ORGANS))
    add("--backbone", help="the teacher, in place of the recipe's")
    weights = recipe.get("pre_trained", False)
    add("--pre_trained", type=pre_trained, default=weights, metavar="false|true|PATH", help="the teacher's weights")
    add("--size", type=int, default=recipe.get("size", 64))
    add("--steps", type=int, default=recipe["steps"])
    add("--batch", type=int, default=8)
    add("--train_images", type=int, default=recipe["train_images"])
    add("--test_images", type=int, default=40)
    add("--seeds", type=int, nargs="+", default=[0, 1, 2])
    add_place(parser, "ablation")
    options = parser.parse_args(arguments)
    register()
    results = run_missing(options.results / f"{file.stem}.csv", recipe, options)
    made = (
        f"{options.size} px, {options.steps} steps of {options.batch}, {options.train_images} training images, organ "
        f"{options.organ}, seeds {options.seeds}, {options.test_images} healthy and as many ill test images of each "
        "lesion size; AUROC in per cent, mean ± deviation over seeds."
    )
    blocks = [made_with(command(parser.prog, arguments)), Text(made), Text(recipe["notes"]), *tables(results, recipe)]
    write(options.results, file.stem, recipe["title"], results, blocks, picture(results, list(recipe["methods"])))
