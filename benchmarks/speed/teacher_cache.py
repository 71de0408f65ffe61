# SPDX-License-Identifier: Apache-2.0
"""What ``cache_teachers`` saves: the time of PDD's epochs with and without.

    python -m benchmarks.pdd_cache                       # one small teacher pair, 64 pixels
    python -m benchmarks.pdd_cache --teachers wide_resnet50_2.racm_in1k vmamba_tiny --size 256 --images 8 --batch 4

Processor time of the second epoch of each, when the cache is full; results are added to ``pdd_cache.csv`` and ``.md``.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
import torch
from anomalib.data import ImageBatch, ImageItem
from lightning.pytorch import Callback, LightningModule, Trainer
from torch.utils.data import DataLoader

from anomalib_fsad import PDD

RESULTS = Path(__file__).parent / "results"
SETTINGS = ["teachers", "size", "images", "batch"]


class EpochTimes(Callback):
    """Processor time of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        del trainer, pl_module
        self.began = time.process_time()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop it."""
        del trainer, pl_module
        self.seconds.append(time.process_time() - self.began)


def measure(place: str, options: argparse.Namespace) -> dict[str, object]:
    """Two epochs with one kind of cache."""
    bare = {"post_processor": False, "evaluator": False, "visualizer": False}
    model = PDD(options.teachers, pre_trained=False, image_size=options.size, cache_teachers=place, **bare)
    images = torch.rand(options.images, 3, options.size, options.size, generator=torch.Generator().manual_seed(0))
    items = [ImageItem(image=image) for image in images]
    loader = DataLoader(items, batch_size=options.batch, collate_fn=ImageBatch.collate)
    times = EpochTimes()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    Trainer(max_epochs=2, accelerator="cpu", devices=1, callbacks=[times], **quiet).fit(model, loader)
    first, second = times.seconds
    return {
        **{name: getattr(options, name) for name in SETTINGS[1:]},
        "teachers": " + ".join(options.teachers),
        "cache_teachers": place,
        "first epoch s": round(first, 2),
        "second epoch s": round(second, 2),
    }


def main() -> None:
    """Measure all three, and write what is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teachers", nargs="+", default=["resnet18", "vmamba_atto"])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    options = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    csv = RESULTS / "pdd_cache.csv"
    known = [pd.read_csv(csv)] if csv.is_file() else []
    rows = pd.DataFrame([measure(place, options) for place in ("none", "ram", "disk")])
    results = pd.concat([*known, rows]).drop_duplicates([*SETTINGS, "cache_teachers"], keep="last")
    results = results[[*SETTINGS, "cache_teachers", "first epoch s", "second epoch s"]]
    results.to_csv(csv, index=False)
    heading = f"`python -m benchmarks.pdd_cache`, processor time on {torch.get_num_threads()} thread(s).\n\n"
    lines = [[*results.columns], ["---"] * len(results.columns), *results.astype(str).to_numpy().tolist()]
    (RESULTS / "pdd_cache.md").write_text(heading + "\n".join("| " + " | ".join(row) + " |" for row in lines) + "\n")
    print((RESULTS / "pdd_cache.md").read_text())


if __name__ == "__main__":
    main()
