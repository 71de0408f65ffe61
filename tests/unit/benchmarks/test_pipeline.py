# SPDX-License-Identifier: Apache-2.0
"""anomalib's own benchmark, unmodified, on the quick file. It swallows every error, so only its csv counts."""

from pathlib import Path

import pandas as pd
import yaml
from anomalib.cli.cli import AnomalibCLI

from anomalib_fsad.compare.reading import read_results
from anomalib_fsad.compare.summary import summarise
from anomalib_fsad.plugin import register

QUICK = Path(__file__).parents[3] / "configs" / "benchmark" / "quick.yaml"


def test_one_file_runs_our_models_and_anomalibs(tmp_path, monkeypatch):
    register()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PL_TRAINER_MAX_EPOCHS", "1")
    content = yaml.safe_load(QUICK.read_text())
    data = content["benchmark"]["data"]["init_args"]
    data |= {"root": str(tmp_path / "data"), "train_batch_size": 4, "val_images": 2}
    data["reader_args"] = {"image_size": 64, "n_train": 6, "n_test": 2}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(content))
    AnomalibCLI(args=["benchmark", "--config", str(tmp_path / "quick.yaml")])
    (csv,) = tmp_path.glob("runs/benchmark/*/results.csv")
    table = pd.read_csv(csv)
    assert list(table["model.class_path"]) == content["benchmark"]["model"]["class_path"]["grid"]
    assert table[["image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score"]].notna().all(axis=None)
    summary = summarise(read_results([csv]), "held_out", draws=10)
    assert set(summary["model"]) == set(table["model.class_path"])
    assert (summary["setting"] == "one class").all()
