# SPDX-License-Identifier: Apache-2.0
"""Real cells: the phantom set, 64 px, resnet18."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_f1_score

from benchmarks.accuracy.run import main

QUICK = str(Path(__file__).parents[3] / "configs" / "benchmark" / "quick.yaml")


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    small = "data.reader_args={image_size: 64, n_train: 6, n_test: 3}"
    return folder / "out", [
        *("--out", str(folder / "out"), "--root", str(folder / "data"), "--image_size", "64", "--seeds", "0"),
        *("--backbone", "resnet18", "--accelerator", "cpu", "--max_epochs", "2"),
        *("--set", small, "data.val_images=2", "data.train_batch_size=4"),
    ]


def test_cells_run_once(arguments, capsys):
    out, options = arguments
    command = [
        QUICK,
        *options,
        "--models",
        "Padim",
        "SCRD4AD",
        "--targets",
        "fundus",
        "--evaluation",
        "held_out",
        "as_published",
    ]
    assert main(command) == 0
    assert "4 cells, 0 finished, 4 to run." in capsys.readouterr().out
    table = pd.read_csv(out / "results.csv")
    assert set(zip(table["model"], table["evaluation"], strict=True)) == {
        (m, e) for m in ("Padim", "SCRD4AD") for e in ("held_out", "as_published")
    }
    measured = ["image_AUROC", "image_AP", "image_F1Max", "image_SpecAt95Recall", "pixel_AUROC", "pixel_AUPRO"]
    assert table[measured].notna().all(axis=None)
    assert ((table[measured] >= 0) & (table[measured] <= 1)).all(axis=None)
    assert (table[["ms_per_image", "peak_memory_mib"]] > 0).all(axis=None)
    assert (table["weights"] == "untrained").all()
    trained = table[table["model"] == "SCRD4AD"]
    assert (trained["epochs"] == 2).all()
    assert trained["best_epoch"].between(1, 2).all()
    # The threshold was chosen on these very labels: it is the score at which F1 is largest.
    for _, row in table[table["evaluation"] == "as_published"].iterrows():
        (file,) = (out / "cells").glob(f"{row['model']}-*-as_published-*.npz")
        content = np.load(file)
        called = torch.from_numpy(content["scores"] >= row["image_threshold"])
        best = binary_f1_score(called.int(), torch.from_numpy(content["labels"]))
        assert best.item() == pytest.approx(row["image_F1Max"], abs=1e-6)

    written = {file: file.stat().st_mtime_ns for file in (out / "cells").iterdir()}
    assert main(command) == 0
    assert "4 cells, 4 finished, 0 to run." in capsys.readouterr().out
    assert written == {file: file.stat().st_mtime_ns for file in (out / "cells").iterdir()}


def test_an_interrupted_cell_runs_again_and_alike(arguments, capsys):
    out, options = arguments
    command = [QUICK, *options, "--models", "Padim", "--targets", "head_ct"]
    assert main(command) == 0
    (file,) = (out / "cells").glob("Padim-*-head_ct-*.json")
    before = json.loads(file.read_text())
    file.unlink()
    assert main(command) == 0
    assert "1 to run." in capsys.readouterr().out
    assert json.loads(file.read_text())["image_AUROC"] == before["image_AUROC"]


def test_a_failure_is_told_and_stops_no_other_cell(arguments, capsys):
    out, options = arguments
    code = main([QUICK, *options, "--models", "Padim", "--targets", "no_such_organ", "fundus"])
    captured = capsys.readouterr()
    assert code == 1
    (log,) = (out / "logs").glob("Padim-*-no_such_organ-*.log")
    assert str(log) in captured.err
    assert "no_such_organ" in log.read_text()
    assert not list((out / "cells").glob("*no_such_organ*"))


@pytest.mark.cli
def test_several_cells_at_a_time_share_their_teacher_and_their_bar(arguments, tmp_path, capsys):
    _, options = arguments
    out = tmp_path / "out"
    more = ["--targets", "head_ct", "fundus", "--jobs", "2", "--out", str(out)]
    command = [QUICK, *options, "--models", "Padim", *more]
    assert main(command) == 0
    assert len(list((out / "cells").glob("*.json"))) == 2
    assert [file.name for file in (out / "weights").iterdir()] == ["resnet18_untrained_0.pth"]
    assert "2/2" in capsys.readouterr().err


def test_shards_part_the_cells(arguments, capsys):
    _, options = arguments
    command = [QUICK, *options, "--models", "Padim", "--targets", "a", "b", "c", "--list"]
    names = []
    for part in ("0/2", "1/2"):
        assert main([*command, "--shard", part]) == 0
        names.append({line for line in capsys.readouterr().out.splitlines() if line.startswith("to do")})
    assert [len(part) for part in names] == [2, 1]
    assert not names[0] & names[1]
    with pytest.raises(SystemExit):
        main([*command, "--shard", "2/2"])
    assert "--shard 2/2" in capsys.readouterr().err


def test_a_wrong_option_is_named(arguments, capsys):
    _, options = arguments
    with pytest.raises(SystemExit):
        main([QUICK, *options, "--set", "k_shot=3"])
    assert "--set k_shot" in capsys.readouterr().err
