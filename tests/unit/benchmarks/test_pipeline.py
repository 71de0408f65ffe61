# SPDX-License-Identifier: Apache-2.0
"""anomalib's own benchmark, unmodified, on our files. It swallows every error, so only its csv counts."""

from pathlib import Path

import pandas as pd
import pytest
import yaml

CONFIGS = Path(__file__).parents[3] / "configs" / "benchmark"


@pytest.fixture
def benchmark(tmp_path, monkeypatch):
    """Runs a file with a smaller grid and returns its csv."""
    from anomalib.cli.cli import AnomalibCLI

    from anomalib_fsad.plugin import register

    register()
    monkeypatch.chdir(tmp_path)

    def run(name: str, seeds: list[int]) -> pd.DataFrame:
        content = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
        content["benchmark"]["seed"] = {"grid": seeds}
        content["benchmark"]["data"]["init_args"] |= {"root": str(tmp_path / "data"), "target": {"grid": ["fundus"]}}
        content["benchmark"]["data"]["init_args"]["reader_args"] = {"image_size": 64, "n_train": 6, "n_test": 3}
        content["benchmark"]["data"]["init_args"] |= {"train_batch_size": 4, "source_categories": ["head_ct"]}
        config = tmp_path / f"{name}.yaml"
        config.write_text(yaml.safe_dump(content))
        before = set(tmp_path.glob("runs/benchmark/*/results.csv"))
        AnomalibCLI(args=["benchmark", "--config", str(config)])
        (new,) = set(tmp_path.glob("runs/benchmark/*/results.csv")) - before
        return pd.read_csv(new)

    return run


def test_our_models_and_anomalibs_have_the_same_metrics(benchmark, tmp_path):
    from anomalib_fsad.compare.reading import read_results
    from anomalib_fsad.compare.summary import summarise

    ours, theirs = benchmark("quick_d24fad", [0, 1]), benchmark("quick_padim", [0])
    assert len(ours) == 2
    assert len(theirs) == 1
    metrics = ["image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score"]
    for table in (ours, theirs):
        assert table[metrics].notna().all(axis=None)
    summary = summarise(read_results(sorted(tmp_path.glob("runs/benchmark/*/results.csv"))), "held_out", draws=10)
    assert set(summary["model"]) == {"D24FAD", "Padim"}
    assert (summary["setting"] == "K = 2").all()
