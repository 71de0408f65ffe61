# SPDX-License-Identifier: Apache-2.0
"""One line makes a model known; a broken line takes down itself alone."""

import warnings
from pathlib import Path

import anomalib.models
import pytest
from anomalib.models import get_model, list_models

import anomalib_fsad
from anomalib_fsad import registry
from anomalib_fsad.plugin import register
from tests.conformance.conftest import Variant
from tests.conformance.tiny import TINY
from tests.conftest import cli, folder_arguments


def test_is_known_by_its_name(variant: Variant, toy_root: Path, tmp_path: Path) -> None:
    """The toy model too, by its one line: in the package, ``get_model``, ``list_models`` and on the command line."""
    own = registry.load(variant.name)
    assert getattr(anomalib_fsad, variant.name) is own
    assert getattr(anomalib.models, variant.name) is own
    assert type(get_model(variant.name, **variant.arguments)) is own
    written_out = {"class_path": f"anomalib_fsad.{variant.name}", "init_args": variant.arguments}
    assert type(get_model(written_out)) is own
    assert any(name.replace("_", "") == variant.name.lower() for name in list_models(case="snake"))
    run = cli("fit", *variant.options(), "--trainer.max_steps=1", *folder_arguments(toy_root), root=tmp_path)
    assert type(run.model) is own


def test_every_registered_model_is_here() -> None:
    assert set(TINY) == set(registry.MODELS) - {"Toy"}


def test_a_broken_model_takes_down_only_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "MODELS", {"Broken": "anomalib_fsad.models.nowhere", **registry.MODELS})
    for name in TINY:
        monkeypatch.delattr(anomalib.models, name)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        register()
    (warning,) = [one for one in caught if "anomalib-fsad" in str(one.message)]
    assert "Broken could not be loaded and is left out (ModuleNotFoundError" in str(warning.message)
    assert all(getattr(anomalib.models, name) is registry.load(name) for name in TINY)
