# SPDX-License-Identifier: Apache-2.0
import pandas as pd
import pytest

from anomalib_fsad.cli import main
from anomalib_fsad.compare.comparison import benchmarks_of, protocol_of
from anomalib_fsad.plugin import register


@pytest.fixture(autouse=True)
def _registered():
    register()


def test_every_model_learns_from_the_same_images():
    assert protocol_of("D24FAD", few_shot=True) == "episodic"  # the K are its supports
    assert protocol_of("Patchcore", few_shot=True) == protocol_of("SCRD4AD", few_shot=True) == "few_shot"
    assert {protocol_of(name, few_shot=False) for name in ("D24FAD", "Padim", "PDD")} == {"one_class"}
    assert len(benchmarks_of(["D24FAD", "Padim", "Patchcore"], few_shot=True)) == 2


def test_an_unknown_model_is_named(capsys):
    assert main(["compare", "Pachcore", "--root", "data", "--targets", "lung"]) == 2
    assert "Pachcore" in capsys.readouterr().err


def test_what_is_missing_is_named(capsys):
    assert main(["compare", "Padim", "--targets", "lung"]) == 2
    assert "--root" in capsys.readouterr().err


def test_models_side_by_side_and_again(tmp_path, capsys):
    small = ["data.reader=phantom", "data.reader_args={image_size: 64, n_train: 6, n_test: 3}", "data.num_workers=0"]
    command = [
        *("compare", "D24FAD", "Padim", "--root", str(tmp_path / "data"), "--target", "fundus", "--k_shot", "4"),
        *("--backbone", "resnet18", "--pre_trained", "false", "--image_size", "64", "--max_epochs", "1"),
        *("--out", str(tmp_path / "out"), "--accelerator", "cpu"),
        *("--set", *small, "data.val_images=2", "data.train_batch_size=4", "data.source_categories=[head_ct]"),
    ]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "2 runs, 0 finished, 2 to do." in printed.err
    assert "D24FAD" in printed.out
    assert "K = 4" in printed.out
    table = pd.read_csv(tmp_path / "out" / "results.csv").set_index("model")
    assert table["protocol"].to_dict() == {"D24FAD": "episodic", "Padim": "few_shot"}
    assert (table["threshold_from_normals"] > 0).all()
    assert table[["normals_F1", "normals_FPR"]].stack().between(0, 1).all()
    for name in ("report.md", "report.html"):
        assert "FPR (normals)" in (tmp_path / "out" / name).read_text()
    assert main(command) == 0
    assert "2 runs, 2 finished, 0 to do." in capsys.readouterr().err
