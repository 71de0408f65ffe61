# SPDX-License-Identifier: Apache-2.0
import argparse

import pandas as pd
import pytest
import yaml

from anomalib_fsad.compare.building import arguments_of
from anomalib_fsad.plugin import register
from benchmarks.ablation import run as ablation
from benchmarks.ablation.__main__ import FILES

TOY = {
    "title": "A toy",
    "notes": "None.",
    "steps": 2,
    "train_images": 4,
    "logged": ["train_scale_entropy"],
    "base": {"class_path": "SCRD4AD", "init_args": {"backbone": "resnet18"}},
    "methods": {
        "ours": {},
        "ReverseDistillation": {"class_path": "ReverseDistillation", "init_args": {"backbone": "resnet18"}},
    },
}


@pytest.fixture(autouse=True)
def _registered():
    register()


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_recipe_names_arguments_that_exist(name):
    recipe = yaml.safe_load(FILES[name].read_text())
    for method in recipe["methods"]:
        options = argparse.Namespace(backbone=None, size=64)
        config = ablation.variant(recipe, method, options, seed=0)
        assert not set(config["init_args"]) - set(arguments_of(config["class_path"]))


def test_finished_runs_are_kept_and_the_rest_is_run(tmp_path, monkeypatch):
    file = tmp_path / "toy.yaml"
    file.write_text(yaml.safe_dump(TOY, sort_keys=False))
    command = ["--test_images", "2", "--batch", "2", "--results", str(tmp_path / "out")]
    ablation.main(file, [*command, "--seeds", "0"])
    first = pd.read_csv(tmp_path / "out" / "toy.csv")
    assert first.groupby("method").size().to_dict() == {"ours": 4, "ReverseDistillation": 4}
    assert first[list(ablation.METRICS)].stack().between(0, 1).all()
    text = (tmp_path / "out" / "toy.md").read_text()
    assert "| ours | pixel AUROC |" in text
    assert "train_scale_entropy by epoch" in text
    assert first.loc[first["method"] == "ours", "train_scale_entropy by epoch"].notna().all()

    runs = []

    def counted(recipe, method, seed, sets, options, run=ablation.run):
        runs.append((method, seed))
        return first[first["method"] == method].assign(seed=seed)[["radius", *ablation.METRICS, "method", "seed"]]

    monkeypatch.setattr(ablation, "run", counted)
    ablation.main(file, [*command, "--seeds", "0", "1"])
    assert runs == [("ours", 1), ("ReverseDistillation", 1)]
    assert len(pd.read_csv(tmp_path / "out" / "toy.csv")) == 16
