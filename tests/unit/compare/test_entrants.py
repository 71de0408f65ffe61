# SPDX-License-Identifier: Apache-2.0
import pytest

from anomalib_fsad.compare.entrants import entrant
from anomalib_fsad.plugin import register


@pytest.fixture(autouse=True)
def _registered():
    register()


def recipe(folder, text):
    file = folder / "mine.yaml"
    file.write_text(text)
    return str(file)


def test_a_recipe_brings_its_arguments_but_neither_k_nor_seed(tmp_path):
    text = "{model: {class_path: SCRD4AD, init_args: {lr: 0.005, seed: 1}}, trainer: {max_steps: 300}}"
    found = entrant(recipe(tmp_path, text))
    assert found == ("SCRD4AD (mine)", "SCRD4AD", {"lr": 0.005}, 300)


def test_what_a_recipe_lacks_or_has_too_much_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"mine\.yaml has no model\.class_path"):
        entrant(recipe(tmp_path, "data: {}"))
    with pytest.raises(ValueError, match=r"mine\.yaml: Padim takes no 'lr'"):
        entrant(recipe(tmp_path, "model: {class_path: Padim, init_args: {lr: 1}}"))
