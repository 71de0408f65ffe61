# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import yaml

from anomalib_fsad.compare.cells import Overrides, read_cells
from anomalib_fsad.plugin import register

CONFIGS = Path(__file__).parents[3] / "configs" / "benchmark"
FEW_SHOT = CONFIGS / "few_shot_d24fad.yaml"
ONE_CLASS = CONFIGS / "one_class_patchcore.yaml"


@pytest.fixture(autouse=True)
def _registered():
    register()


def test_the_grid_of_a_file():
    cells = read_cells([FEW_SHOT], Overrides())
    assert len(cells) == len({cell.name for cell in cells}) == 5 * 3 * 3
    assert {(c.model, c.protocol) for c in cells} == {("D24FAD", "episodic")}
    assert {c.k_shot for c in cells} == {2, 4, 8}


def test_one_seed_for_everything():
    for cell in read_cells([FEW_SHOT], Overrides(seeds=[3, 5])):
        data, model = cell.data_config["init_args"], cell.model_config["init_args"]
        assert cell.seed in {3, 5}
        assert data["seed"] == data["support_seed"] == model["seed"] == cell.seed
        assert model["k_shot"] == data["k_shot"] == cell.k_shot


def test_seeds_come_one_after_the_other_and_leak_free_first():
    cells = read_cells([ONE_CLASS, FEW_SHOT], Overrides(evaluations=["as_published", "held_out"]))
    assert [c.seed for c in cells] == sorted(c.seed for c in cells)
    first = [c.evaluation for c in cells if c.seed == 0]
    assert first == sorted(first, reverse=True)  # held_out before as_published
    assert {c.data_config["init_args"]["val"] for c in cells if c.evaluation == "as_published"} == {"same_as_test"}


def test_overrides_reach_only_models_that_take_them():
    given = Overrides(
        targets=["lung"], seeds=[0], backbone="resnet18", image_size=64, max_epochs=3, options={"data.num_workers": 0}
    )
    (ours,) = read_cells([FEW_SHOT], Overrides(**{**given.__dict__, "k_shots": [2]}))
    (theirs,) = read_cells([ONE_CLASS], given)
    assert (
        ours.model_config["init_args"] | {"backbone": "resnet18", "image_size": 64, "max_epochs": 3}
        == (ours.model_config["init_args"])
    )
    assert theirs.model_config["init_args"] == {"backbone": "resnet18"}
    assert theirs.training == {"image_size": 64, "max_epochs": 3, "weights": "untrained"}
    assert theirs.data_config["init_args"]["num_workers"] == 0


def test_a_name_is_of_what_is_computed():
    def name(**given):
        return read_cells([FEW_SHOT], Overrides(targets=["lung"], k_shots=[2], seeds=[0], **given))[0].name

    assert name(root="here") == name(root="there")
    assert name() != name(max_epochs=1)
    assert name() != name(weights="imagenet")
    assert name() != name(options={"data.val_images": 8})


def test_an_unknown_model_is_named(tmp_path):
    content = yaml.safe_load(ONE_CLASS.read_text())
    content["benchmark"]["model"]["class_path"] = "Pachcore"
    (tmp_path / "a.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ValueError, match="Pachcore"):
        read_cells([tmp_path / "a.yaml"], Overrides())


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda f: f.stem)
def test_every_file_names_arguments_that_exist(file):
    import inspect

    import anomalib.data

    from anomalib_fsad.compare.cells import find_model

    content = yaml.safe_load(file.read_text())
    benchmark = content["benchmark"]
    for found, config in (
        (find_model(benchmark["model"]["class_path"]), benchmark["model"]),
        (getattr(anomalib.data, benchmark["data"]["class_path"]), benchmark["data"]),
    ):
        unknown = set(config.get("init_args", {})) - set(inspect.signature(found.__init__).parameters)
        assert not unknown
    assert content["accelerator"] in {"cpu", "cuda"}
    assert read_cells([file], Overrides())
