# SPDX-License-Identifier: Apache-2.0
"""Released weights: old names, new names, strictness, places."""

import pickle
import sys
import types

import pytest
import torch

from anomalib_fsad.models.components import WeightsUnavailableError
from anomalib_fsad.models.vmamba import VMamba, load_vmamba

OLD = {
    "patch_embed.0.": "patch_embed.proj.",
    "patch_embed.2.": "patch_embed.norm.",
    ".op.": ".self_attention.",
    ".downsample.1.": ".downsample.norm.",
    ".downsample.2.": ".downsample.reduction.",
}


@pytest.fixture
def source():
    torch.manual_seed(1)
    return VMamba("vmamba_atto")


def released(network, *, old):
    """A network's weights as a release has them: with a classifier, perhaps under the older names."""
    state = dict(network.state_dict())
    if old:
        for new_part, old_part in OLD.items():
            state = {name.replace(new_part, old_part): value for name, value in state.items()}
        state = {name.replace(".norm.", ".ln_1.") if ".blocks." in name else name: v for name, v in state.items()}
    return {**state, "classifier.norm.weight": torch.ones(128), "classifier.head.weight": torch.ones(10, 128)}


def assert_loaded(network, source):
    assert all(torch.equal(network.state_dict()[name], value) for name, value in source.state_dict().items())


@pytest.mark.parametrize("old", [False, True])
def test_names_of_both_ages(tmp_path, source, old):
    torch.save({"model": released(source, old=old)}, tmp_path / "w.pth")
    assert_loaded(load_vmamba("vmamba_atto", tmp_path / "w.pth"), source)


def test_a_missing_tensor_is_refused(tmp_path, source):
    state = released(source, old=False)
    del state["layers.1.blocks.0.op.Ds"]
    torch.save({"model": state}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=r"w\.pth.*vmamba_atto(.|\n)*op\.Ds"):
        load_vmamba("vmamba_atto", tmp_path / "w.pth")


def test_a_training_configuration_beside_the_weights_runs_no_code(tmp_path, source, monkeypatch):
    module = types.ModuleType("yacs.config")
    config = type("CfgNode", (dict,), {"__module__": "yacs.config"})
    module.CfgNode = config
    monkeypatch.setitem(sys.modules, "yacs", types.ModuleType("yacs"))
    monkeypatch.setitem(sys.modules, "yacs.config", module)
    node = config(MODEL=config(NAME="vssm"))
    node.__dict__["__immutable__"] = True
    torch.save({"model": released(source, old=False), "config": node}, tmp_path / "w.pth")
    monkeypatch.delitem(sys.modules, "yacs.config")
    assert_loaded(load_vmamba("vmamba_atto", str(tmp_path / "w.pth")), source)


def test_other_code_is_refused(tmp_path):
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"model": print}))
    with pytest.raises(ValueError, match=r"w\.pth"):
        load_vmamba("vmamba_atto", tmp_path / "w.pth")


def test_an_url_is_fetched_once(tmp_path, source, monkeypatch):
    torch.save({"model": released(source, old=True)}, tmp_path / "served.pth")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    url = (tmp_path / "served.pth").as_uri()
    assert_loaded(load_vmamba("vmamba_atto", url), source)
    (tmp_path / "served.pth").unlink()
    assert_loaded(load_vmamba("vmamba_atto", url), source)


def test_a_failed_download_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(WeightsUnavailableError, match=r"vmamba_atto.*nowhere\.pth.*pre_trained"):
        load_vmamba("vmamba_atto", (tmp_path / "nowhere.pth").as_uri())
    assert not list((tmp_path / "checkpoints").glob("*.pth"))
    with pytest.raises(WeightsUnavailableError, match="ever released"):
        load_vmamba("vmamba_atto", weights=True)
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        load_vmamba("vmamba_atto", tmp_path / "missing.pth")
