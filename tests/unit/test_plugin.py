# SPDX-License-Identifier: Apache-2.0
import sys

import anomalib.data
import anomalib.models
import pytest

import anomalib_fsad
from anomalib_fsad.plugin import activate, register
from anomalib_fsad.registry import DATA, MODELS, TOOLS


def test_register_exposes_every_public_name_and_may_be_repeated():
    register()
    register()
    for name in MODELS:
        assert getattr(anomalib.models, name) is getattr(anomalib_fsad, name)
    for name in DATA:
        assert getattr(anomalib.data, name) is getattr(anomalib_fsad, name)
    assert set(MODELS) | set(DATA) | set(TOOLS) == set(anomalib_fsad.__all__)
    assert "anomalib_fsad" in anomalib.models.ALLOWED_MODULES


def test_a_name_of_anomalibs_own_is_not_overwritten(monkeypatch):
    theirs = type("PDD", (), {})
    monkeypatch.setattr(anomalib.models, "PDD", theirs)
    with pytest.warns(RuntimeWarning, match=r"has a PDD of its own.*anomalib_fsad\.PDD"):
        register()
    assert anomalib.models.PDD is theirs


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'D25FAD'"):
        _ = anomalib_fsad.D25FAD
    assert set(anomalib_fsad.__all__) <= set(dir(anomalib_fsad))


def test_activation_waits_where_anomalib_is_not_loaded(monkeypatch):
    monkeypatch.delitem(sys.modules, "anomalib.models")
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    activate()
    activate()
    waiting = [finder for finder in sys.meta_path if type(finder).__name__ == "_AfterAnomalibModels"]
    assert len(waiting) == 1
    assert waiting[0].find_spec("anomalib.data") is None
