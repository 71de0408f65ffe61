# SPDX-License-Identifier: Apache-2.0
"""Trains and tests D24FAD in two processes; each writes down what it saw. Started by ``test_ddp.py``."""

import json
import sys
from pathlib import Path

from anomalib.engine import Engine

from anomalib_fsad import D24FAD, MedicalFewShot


def make_model() -> D24FAD:
    learnt = {"matching": "nearest", "spaces": ["teacher", "student"], "space_weights": "learnt"}
    small = {"backbone": "resnet18", "pre_trained": False, "image_size": 64, "visualizer": False}
    return D24FAD(k_shot=2, seed=3, max_epochs=1, **small, **learnt)


def make_data(folder: Path) -> MedicalFewShot:
    return MedicalFewShot(
        root=folder / "phantom",
        target="fundus",
        reader="phantom",
        reader_args={"image_size": 64, "n_train": 4, "n_test": 4},
        k_shot=2,
        num_workers=0,
        train_batch_size=5,
        eval_batch_size=2,
        val_images=4,
    )


def run(folder: Path) -> None:
    """Fit and test on two CPU processes."""
    model, data = make_model(), make_data(folder)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
    engine = Engine(strategy="ddp", devices=2, default_root_dir=folder / "results", **options)
    engine.fit(model=model, datamodule=data)
    metrics = engine.trainer.test(model, datamodule=data, verbose=False)[0]
    seen = {
        "support": data.support_files,
        "support_sum": model.model.support.images.double().sum().item(),
        "space_weights": model.model.space_weights.tolist(),
        "weights_sum": sum(p.detach().double().sum().item() for p in model.model.student.parameters()),
        "metrics": metrics,
        "steps": engine.trainer.global_step,
        "checkpoint": str(engine.trainer.checkpoint_callback.best_model_path),
    }
    (folder / f"rank{engine.trainer.global_rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    run(Path(sys.argv[1]))
