# SPDX-License-Identifier: Apache-2.0
import inspect
from pathlib import Path

import pytest
import yaml

from anomalib_fsad import MedicalFewShot
from anomalib_fsad.compare.building import arguments_of
from anomalib_fsad.compare.cells import Overrides, cells_of
from anomalib_fsad.compare.comparison import benchmarks_of
from anomalib_fsad.plugin import register
from anomalib_fsad.registry import MODELS

CONFIGS = Path(__file__).parents[3] / "configs" / "benchmark"
EPISODIC = CONFIGS / "episodic.yaml"
FEW_SHOT = CONFIGS / "few_shot.yaml"
ONE_CLASS = CONFIGS / "one_class.yaml"


@pytest.fixture(autouse=True)
def _registered():
    register()


def read(*files):
    """What is in some of anomalib's benchmark files."""
    return [yaml.safe_load(file.read_text()) for file in files]


def test_the_grid_of_a_file():
    cells = cells_of(read(FEW_SHOT), Overrides())
    assert len(cells) == len({cell.name for cell in cells}) == 2 * 5 * 3 * 3
    assert {(c.model, c.protocol) for c in cells} == {("Patchcore", "few_shot"), ("Padim", "few_shot")}
    assert {c.k_shot for c in cells} == {2, 4, 8}


def test_one_seed_for_everything():
    for cell in cells_of(read(EPISODIC), Overrides(seeds=[3, 5])):
        data, model = cell.data_config["init_args"], cell.model_config["init_args"]
        assert cell.seed in {3, 5}
        assert data["seed"] == data["support_seed"] == model["seed"] == cell.seed


def test_seeds_come_one_after_the_other_and_leak_free_first():
    cells = cells_of(read(ONE_CLASS, FEW_SHOT), Overrides(evaluations=["as_published", "held_out"]))
    assert [c.seed for c in cells] == sorted(c.seed for c in cells)
    first = [c.evaluation for c in cells if c.seed == 0]
    assert first == sorted(first, reverse=True)  # held_out before as_published
    assert {c.data_config["init_args"]["val"] for c in cells if c.evaluation == "as_published"} == {"same_as_test"}


def test_one_training_can_serve_every_draw_of_the_supports():
    names = ["D24FAD", "Patchcore"]
    cells = cells_of(benchmarks_of(names, few_shot=True), Overrides(targets=["lung"], seeds=[3, 5], train_seed=0))
    for cell in cells:
        data = cell.data_config["init_args"]
        assert data["support_seed"] == cell.seed
        assert data["seed"] == (0 if cell.model == "D24FAD" else cell.seed)
    assert {cell.model_config["init_args"].get("seed") for cell in cells if cell.model == "D24FAD"} == {0}


SMALL = {"targets": ["lung"], "seeds": [0], "k_shots": [2]}


def test_overrides_reach_only_models_that_take_them():
    given = Overrides(
        **SMALL,
        backbone="resnet18",
        image_size=64,
        max_epochs=3,
        options={"data.num_workers": 0, "model.lr": 0.5},
    )
    ours, theirs = cells_of(benchmarks_of(["D24FAD", "Patchcore"], few_shot=False), given)
    expected = {"backbone": "resnet18", "image_size": 64, "max_epochs": 3, "lr": 0.5, "seed": 0}
    assert ours.model_config["init_args"] == expected
    assert theirs.model_config["init_args"] == {"backbone": "resnet18"}
    assert theirs.training == {"image_size": 64, "max_epochs": 3, "weights": "untrained"}
    assert theirs.data_config["init_args"]["num_workers"] == 0


def test_an_option_that_no_model_takes_is_named():
    with pytest.raises(ValueError, match=r"model\.lr.*Padim.*Patchcore"):
        cells_of(read(FEW_SHOT), Overrides(**SMALL, options={"model.lr": 1.0}))


def test_a_name_is_of_what_is_computed():
    def name(**given):
        return cells_of(read(EPISODIC), Overrides(**SMALL, **given))[0].name

    assert name(root="here") == name(root="there")
    assert name() != name(max_epochs=1)
    assert name() != name(weights="imagenet")
    assert name() != name(options={"data.val_images": 8})


def test_an_unknown_model_is_named():
    content = read(ONE_CLASS)
    content[0]["benchmark"]["model"]["class_path"] = "Pachcore"
    with pytest.raises(ValueError, match="Pachcore"):
        cells_of(content, Overrides())


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.yaml")), ids=lambda f: f.stem)
def test_anomalibs_benchmark_can_read_and_tabulate_every_file(file):
    """Its csv takes its columns from the first job: every job of a file must have the same."""
    from anomalib.pipelines.components.utils import get_iterator_from_grid_dict
    from anomalib.utils.config import flatten_dict

    content = yaml.safe_load(file.read_text())
    assert content["accelerator"] in {"cpu", "cuda"}
    jobs = list(get_iterator_from_grid_dict(content["benchmark"]))
    assert len({tuple(flatten_dict(job)) for job in jobs}) == 1
    assert len(cells_of(read(file), Overrides())) == len(jobs)
    data = set(inspect.signature(MedicalFewShot.__init__).parameters)
    for job in jobs:
        assert not set(job["model"]["init_args"]) - set(arguments_of(job["model"]["class_path"]))
        assert not set(job["data"]["init_args"]) - data


def test_the_files_have_every_model_of_ours():
    cells = [cell for file in CONFIGS.glob("*.yaml") for cell in cells_of(read(file), Overrides())]
    assert set(MODELS) <= {cell.model for cell in cells}
