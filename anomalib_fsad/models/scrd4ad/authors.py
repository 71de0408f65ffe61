# SPDX-License-Identifier: Apache-2.0
"""Import of the checkpoints that the authors' code writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from anomalib_fsad.models.components import load_authors, read_state_dict, without_module
from anomalib_fsad.models.scrd4ad.lightning_model import SCRD4AD

PREFIXES = {"encoder.": "teacher.network.", "bn.": "bottleneck.", "decoder.": "decoder."}
"""The authors' names to ours; the scale head is named apart."""

HEAD = {"mlp.weight": "scale_head.weight", "mlp.bias": "scale_head.bias"}

UNUSED = ("encoder.fc.", "encoder.layer4.", "bn.conv4.", "bn.bn4.")
"""Parts that the authors' networks carry and never call."""


def from_authors(source: str | Path | Mapping[str, Tensor], **init_args: Any) -> SCRD4AD:
    """Build SCRD4AD with the weights of the authors' code.

    Args:
        source: the state dict of the authors' ``RdadAtten``, or a file that holds one. Their training script pickles
            the whole module, which is code, and is refused: ``torch.save(network.state_dict(), "scrd4ad.pth")``, run
            where their code is at hand, makes a file that is read here.
        init_args: arguments of SCRD4AD; the backbone is told from the weights, and nothing is downloaded.

    Example:
        >>> from anomalib_fsad.models.scrd4ad import from_authors
        >>> model = from_authors("scrd4ad.pth", scale_weighting="none")  # doctest: +SKIP
    """
    state = without_module(source if isinstance(source, Mapping) else read_state_dict(Path(source)))
    backbone = init_args.setdefault("backbone", authors_backbone(state))
    init_args.setdefault("pre_trained", False)
    model = SCRD4AD(**init_args)
    own = {_own_name(name): value for name, value in state.items() if not name.startswith(UNUSED)}
    load_authors(model.model, own, f"the authors' SCRD4AD with backbone {backbone!r}")
    return model


def authors_backbone(state: Mapping[str, Tensor]) -> str:
    """Tell the backbone from the shapes of the teacher's weights."""
    try:
        depth = len({name.split(".")[2] for name in state if name.startswith("encoder.layer3.")})
        width = len(state["encoder.layer1.0.conv1.weight"])
        bottleneck = "encoder.layer1.0.conv3.weight" in state
        return {
            (2, 64, False): "resnet18",
            (6, 64, False): "resnet34",
            (6, 64, True): "resnet50",
            (6, 128, True): "wide_resnet50_2",
        }[depth, width, bottleneck]
    except KeyError:
        msg = (
            f"No ResNet that SCRD4AD knows is under 'encoder.' among {len(state)} weights "
            f"({', '.join(list(state)[:3])}, ...). Pass the state dict of the authors' whole network "
            "(encoder.*, bn.*, decoder.*, mlp.*), and backbone=... for another teacher."
        )
        raise ValueError(msg) from None


def _own_name(name: str) -> str:
    if name in HEAD:
        return HEAD[name]
    for theirs, ours in PREFIXES.items():
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name
