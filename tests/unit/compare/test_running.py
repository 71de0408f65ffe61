# SPDX-License-Identifier: Apache-2.0
"""Real runs of the verb: the phantom set, 64 px, resnet18."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from torchmetrics.functional.classification import binary_f1_score

from anomalib_fsad.cli import main
from anomalib_fsad.commands.common import FAILED
from anomalib_fsad.compare.running import shard


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    small = "data.reader_args={image_size: 64, n_train: 6, n_test: 3}"
    return folder / "out", [
        *("--out", str(folder / "out"), "--root", str(folder / "data"), "--image_size", "64", "--seeds", "0"),
        *("--backbone", "resnet18", "--pre_trained", "false", "--accelerator", "cpu", "--max_epochs", "2"),
        *("--set", "data.reader=phantom", small, "data.val_images=2", "data.train_batch_size=4", "data.num_workers=0"),
    ]


def test_both_evaluations_run_once(arguments, capsys):
    out, options = arguments
    ways = ["--evaluation", "held_out", "as_published"]
    command = ["compare", "Padim", "SCRD4AD", *options, "--targets", "fundus", *ways]
    assert main(command) == 0
    assert "4 runs, 0 finished, 4 to do." in capsys.readouterr().err
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
    assert "4 runs, 4 finished, 0 to do." in capsys.readouterr().err
    assert written == {file: file.stat().st_mtime_ns for file in (out / "cells").iterdir()}


def test_an_interrupted_run_is_made_again_and_alike(arguments, capsys):
    out, options = arguments
    command = ["compare", "Padim", *options, "--targets", "head_ct"]
    assert main(command) == 0
    (file,) = (out / "cells").glob("Padim-*-head_ct-*.json")
    before = json.loads(file.read_text())
    file.unlink()
    capsys.readouterr()
    assert main(command) == 0
    assert "1 to do." in capsys.readouterr().err
    assert json.loads(file.read_text())["image_AUROC"] == before["image_AUROC"]


def test_a_failure_is_told_and_stops_no_other(arguments, capsys):
    out, options = arguments
    code = main(["compare", "Padim", *options, "--targets", "no_such_organ", "fundus"])
    captured = capsys.readouterr()
    assert code == FAILED
    (log,) = (out / "logs").glob("Padim-*-no_such_organ-*.log")
    assert str(log) in captured.err
    assert "no_such_organ" in log.read_text()
    assert not list((out / "cells").glob("*no_such_organ*"))


@pytest.mark.cli
def test_several_at_a_time_share_their_teacher_and_their_bar(arguments, tmp_path, capsys):
    _, options = arguments
    out = tmp_path / "out"
    more = ["--targets", "head_ct", "fundus", "--jobs", "2", "--out", str(out)]
    assert main(["compare", "Padim", *options, *more]) == 0
    assert len(list((out / "cells").glob("*.json"))) == 2
    assert [file.name for file in (out / "weights").iterdir()] == ["resnet18_untrained_0.pth"]
    assert "2/2" in capsys.readouterr().err


def test_shards_part_the_runs():
    names = list("abcde")
    assert sorted([*shard(names, "0/2"), *shard(names, "1/2")]) == names
    with pytest.raises(ValueError, match="--shard 2/2"):
        shard(names, "2/2")


def test_a_wrong_option_is_named(arguments, capsys):
    _, options = arguments
    assert main(["compare", "Padim", *options, "--targets", "fundus", "--set", "k_shot=3"]) == 2
    assert "--set k_shot" in capsys.readouterr().err
