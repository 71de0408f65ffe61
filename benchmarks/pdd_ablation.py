# SPDX-License-Identifier: Apache-2.0
"""What PDD's parts are worth on the phantom set: objective, shared students, L_div, MPA, the second teacher.

    python -m benchmarks.pdd_ablation

All see the same images for as many steps, with the same frozen teachers, for each of several seeds. The test lesions
come in several sizes. Finished runs are kept: start it again to go on where it stopped.

The teachers are small and untrained, so the table says how the parts compare here, not what the paper reports.
"""

import argparse
import time
from collections.abc import Iterator
from typing import Any

import pandas as pd
import torch
from torchmetrics.functional.classification import binary_auroc

from anomalib_fsad import PDD
from benchmarks.ablation import LESION_SIZES, Sets, add_options, anomaly_maps, fit, plot, run_missing

NAME = "pdd_ablation"
TEACHERS = ["resnet18", "vmamba_atto"]
METHODS: dict[str, dict[str, Any]] = {
    "as the paper": {},
    "released objective": {"objective": "released"},
    "separate students": {"share_students": False},
    "without L_div": {"div_weight": 0.0},
    "without MPA": {"priors": False},
    "separate, without MPA": {"share_students": False, "priors": False},
    "one teacher": {"teachers": TEACHERS[:1]},
}
"""Arguments of PDD besides the common ones."""
METRICS = {"image_AUROC": "image AUROC", "pixel_AUROC": "pixel AUROC"}


def build(method: str, seed: int, size: int) -> PDD:
    """A model; the seed gives the teachers too."""
    bare = {"post_processor": False, "evaluator": False, "visualizer": False}
    given = {"teachers": TEACHERS, "pre_trained": False, "cache_teachers": "ram", **bare, **METHODS[method]}
    return PDD(image_size=size, seed=seed, **given)


def evaluate(model: PDD, sets: Sets) -> Iterator[dict[str, float]]:
    """A row for each size of lesion."""
    good = anomaly_maps(model, sets.healthy)
    for radius, (images, masks) in sets.ill.items():
        maps = torch.cat([good, anomaly_maps(model, images)])
        labels = torch.cat([torch.zeros(len(good)), torch.ones(len(images))]).int()
        truth = torch.cat([torch.zeros(good.shape), masks]).int()
        yield {
            "radius": radius,
            "image_AUROC": binary_auroc(maps.amax((1, 2)), labels).item(),
            "pixel_AUROC": binary_auroc(maps.flatten(), truth.flatten()).item(),
        }


def run(method: str, seed: int, sets: Sets, options: argparse.Namespace) -> pd.DataFrame:
    """Train and evaluate one model."""
    began = time.process_time()
    model = build(method, seed, options.size)
    fit(model, sets.train, options.steps, options.batch, seed)
    return pd.DataFrame(evaluate(model, sets)).assign(
        method=method, seed=seed, cpu_seconds=round(time.process_time() - began, 1), **settings(options)
    )


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """What a finished run must share with those that are still to come."""
    return {name: getattr(options, name) for name in ("organ", "size", "steps", "batch", "train_images", "test_images")}


def table(results: pd.DataFrame) -> str:
    """Mean and deviation over the seeds, as markdown."""
    lines = ["| method | score | " + " | ".join(f"radius {r:.2f}" for r in LESION_SIZES) + " | mean |"]
    lines.append("|---|---|" + "---|" * (len(LESION_SIZES) + 1))
    for metric, title in METRICS.items():
        for method in METHODS:
            chosen = results[results.method == method]
            overall = chosen.groupby("seed")[metric].mean()
            by_radius = chosen.groupby("radius")[metric]
            means, deviations = [*by_radius.mean(), overall.mean()], [*by_radius.std(ddof=0), overall.std(ddof=0)]
            cells = [f"{mean:.3f} ± {deviation:.3f}" for mean, deviation in zip(means, deviations, strict=True)]
            lines.append(f"| {method} | {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, steps=120, train_images=120)
    options = parser.parse_args()
    csv = options.results / f"{NAME}.csv"
    sets = Sets.draw(options)
    results = run_missing(
        csv, METHODS, options.seeds, settings(options), lambda method, seed: run(method, seed, sets, options)
    )
    heading = (
        f"`python -m benchmarks.{NAME}`: {' + '.join(TEACHERS)}, untrained, {options.size} px, {options.steps} steps "
        f"of {options.batch}, {options.train_images} training images, organ {options.organ}, seeds {options.seeds}, "
        f"{options.test_images} healthy and as many ill test images of each lesion size; mean ± deviation over seeds."
    )
    picture = f"![AUROC over the lesion's size]({NAME}.png)"
    report = f"{heading}\n\n{table(results)}\n\n{picture}\n"
    (options.results / f"{NAME}.md").write_text(report)
    print(report)
    plot(results, METHODS, list(METRICS), options.results / f"{NAME}.png")


if __name__ == "__main__":
    main()
