# SPDX-License-Identifier: Apache-2.0
import pandas as pd
import pytest

from anomalib_fsad.cli import main
from anomalib_fsad.compare.comparison import benchmarks_of, protocol_of
from anomalib_fsad.compare.entrants import entrant
from anomalib_fsad.plugin import register


@pytest.fixture(autouse=True)
def _registered():
    register()


def test_every_model_learns_from_the_same_images():
    def protocol(name, *, few_shot):
        return protocol_of(entrant(name), few_shot=few_shot)

    assert protocol("D24FAD", few_shot=True) == "episodic"  # the K are its supports
    assert protocol("Patchcore", few_shot=True) == protocol("SCRD4AD", few_shot=True) == "few_shot"
    assert {protocol(name, few_shot=False) for name in ("D24FAD", "Padim", "PDD")} == {"one_class"}
    assert [b["benchmark"]["model"]["name"] for b in benchmarks_of(["D24FAD", "Padim"], few_shot=True)] == [
        "D24FAD",
        "Padim",
    ]


def test_an_unknown_model_is_named(capsys):
    assert main(["compare", "Pachcore", "--root", "data", "--targets", "lung"]) == 2
    assert "Pachcore" in capsys.readouterr().err


def test_what_is_missing_is_named(capsys):
    assert main(["compare", "Padim", "--targets", "lung"]) == 2
    assert "--root" in capsys.readouterr().err


def test_models_side_by_side_and_again(tmp_path, capsys):
    small = ["data.reader=phantom", "data.reader_args={image_size: 64, n_train: 6, n_test: 3}", "data.num_workers=0"]
    recipe = tmp_path / "nearest.yaml"
    recipe.write_text(
        "model: {class_path: D24FAD, init_args: {k_shot: 3, matching: nearest, spaces: [teacher], max_epochs: 9}}"
    )
    command = [
        *("compare", "D24FAD", str(recipe), "Padim", "--root", str(tmp_path / "data"), "--target", "fundus"),
        *("--k_shot", "4", "2", "--train_k_shot", "4", "--checkpoint", "last"),
        *("--backbone", "resnet18", "--pre_trained", "false", "--image_size", "64", "--max_epochs", "1"),
        *("--out", str(tmp_path / "out"), "--accelerator", "cpu"),
        *("--set", *small, "data.val_images=2", "data.train_batch_size=4", "data.source_categories=[head_ct]"),
    ]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert "6 runs, 0 finished, 6 to do." in printed.err
    assert "K = 4" in printed.out
    table = pd.read_csv(tmp_path / "out" / "results.csv")
    assert table.groupby("model")["protocol"].first().to_dict() == {
        "D24FAD": "episodic",
        "D24FAD (nearest)": "episodic",
        "Padim": "few_shot",
    }
    of_four = table[table["k_shot"] == 4]
    assert (of_four["threshold_from_normals"] > 0).all()
    assert of_four[["normals_F1", "normals_FPR"]].stack().between(0, 1).all()
    assert table.loc[table["k_shot"] == 2, "threshold_from_normals"].isna().all()
    ours = table[table["model"] != "Padim"]
    assert ours["fit_seconds"].nunique() == 1  # one training for both K and both ways of comparing
    assert (ours["epochs"] == 1).all()
    assert ours["image_AUROC"].nunique() > 1
    for name in ("report.md", "report.html"):
        assert "FPR (normals)" in (tmp_path / "out" / name).read_text()
    assert main(command) == 0
    assert "6 runs, 6 finished, 0 to do." in capsys.readouterr().err
