# SPDX-License-Identifier: Apache-2.0
"""One weight file for each backbone, the same for every model of a comparison.

anomalib's models take ``pre_trained: bool`` at most (Stfpm not even that) and download. timm looks a name up in a
table of weight sources; here a local file is written into that table, so that ``pre_trained=True`` reads it.
"""

from pathlib import Path

import timm
import torch
from timm.models import _registry as timm_registry

from anomalib_fsad.files import replacing
from anomalib_fsad.models.components.pyramid import WEIGHT_TAGS

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
UNTRAINED = "untrained"


def find_weights(folder: Path, backbone: str) -> Path:
    """The file of a backbone in a folder: ``resnet18.safetensors``, ``resnet18-f37072fd.pth`` and the like.

    Raises:
        FileNotFoundError: naming the folder and what was looked for.
    """
    bare = backbone.split(".", maxsplit=1)[0]
    # The very tag first; a bare file holds the usual weights, and none of another tag.
    names = [backbone, bare] if backbone in {bare, WEIGHT_TAGS.get(bare)} else [backbone]
    for name in dict.fromkeys(names):
        found = sorted(
            file
            for file in folder.glob(f"{name}*")
            if file.suffix in SUFFIXES and file.name[len(name)] in {".", "-", "_"} and not _longer(file.name, bare)
        )
        if found:
            return found[0]
    msg = f"--pre_trained {str(folder)!r} holds no file named {names[-1]}.<{'|'.join(s[1:] for s in SUFFIXES)}>."
    raise FileNotFoundError(msg)


def untrained_weights(folder: Path, backbone: str, seed: int) -> Path:
    """Write random weights of a backbone once; all models of a seed share them.

    timm starts the last normalisation of each residual block at zero, which leaves nothing of an untrained network
    but its shortcuts; here every layer counts.
    """
    architecture = backbone.split(".", maxsplit=1)[0]
    file = folder / f"{architecture}_{UNTRAINED}_{seed}.pth"
    if not file.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            state = _create(architecture).state_dict()
        with replacing(file) as draft:
            torch.save(state, draft)
    return file


def _create(architecture: str) -> torch.nn.Module:
    """With every layer awake, where the architecture has that option."""
    try:
        return timm.create_model(architecture, pretrained=False, zero_init_last=False)
    except TypeError:
        return timm.create_model(architecture, pretrained=False)


def known_to_timm(backbone: str) -> bool:
    """Whether timm has a network of that name."""
    return bool(timm.is_model(backbone.split(".", maxsplit=1)[0]))


def offer_packages() -> None:
    """Let anomalib's own models, too, find the trained weights that an installed package brings."""
    from anomalib_fsad.models.components.weights import offer_to_timm

    offer_to_timm()


def use_weights(backbone: str, file: Path) -> None:
    """Let timm read ``file`` wherever the weights of ``backbone`` are asked for, under its bare name or its tag."""
    architecture, _, tag = backbone.partition(".")
    default = next(iter(timm.models.get_arch_pretrained_cfgs(architecture)))
    for name in {backbone} if tag else {default, WEIGHT_TAGS.get(architecture, default)}:
        # timm hands out copies only; the table itself has no public setter.
        timm_registry._model_pretrained_cfgs[name].file = str(file)


def _longer(name: str, backbone: str) -> bool:
    """``wide_resnet50`` must not find ``wide_resnet50_2.pth``."""
    return any(other != backbone and other.startswith(backbone) and name.startswith(other) for other in WEIGHT_TAGS)
