# SPDX-License-Identifier: Apache-2.0
"""Import of the checkpoints that the authors' code writes: ``{"decoder": fusion, priors and students}``."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from anomalib_fsad.models.components import read_state_dict
from anomalib_fsad.models.pdd.lightning_model import PDD

RENAMED = (
    (r"^up_dim_v_r([1-4])\.", lambda match: f"fusion.adapters.{int(match[1]) - 1}."),
    (r"^mlp\.", "mpa."),
    (r"^layer", "student.layer"),
)
"""The authors' names, and ours."""


def from_authors(source: str | Path | Mapping[str, Tensor], **init_args: Any) -> PDD:
    """Build PDD with the weights of the authors' code.

    Args:
        source: the state dict under the key ``decoder``, or the file that holds it. The teachers are not in it:
            ``pre_trained`` says where they come from.
        init_args: arguments of PDD. With ``share_students=False`` both students get the authors' shared weights.

    Example:
        >>> from anomalib_fsad.models.pdd import from_authors
        >>> model = from_authors("pdd.pth", pre_trained=["racm.safetensors", "vssmtiny.pth"])  # doctest: +SKIP
    """
    state = dict(source) if isinstance(source, Mapping) else read_state_dict(Path(source), key="decoder")
    model = PDD(**init_args)
    renamed = {own_name(name): value for name, value in state.items()}
    if model.model.plain_student is not None:
        students = [name for name in renamed if name.startswith("student.")]
        renamed |= {f"plain_{name}": renamed[name] for name in students}
    missing, unexpected = model.model.load_state_dict(renamed, strict=False)
    missing = [name for name in missing if not name.startswith("teachers.")]
    if missing or unexpected:
        msg = (
            f"These are not the weights of the authors' PDD with backbone={model.hparams['backbone']!r}, "
            f"second_backbone={model.hparams['second_backbone']!r}: "
            f"{len(missing)} tensors are missing ({', '.join(missing[:3])}), "
            f"{len(unexpected)} are unknown ({', '.join(unexpected[:3])})."
        )
        raise ValueError(msg)
    return model


def own_name(name: str) -> str:
    """What one of the authors' tensors is called here.

    Example:
        >>> own_name("up_dim_v_r4.conv1.weight")
        'fusion.adapters.3.conv1.weight'
    """
    for pattern, replacement in RENAMED:
        name = re.sub(pattern, replacement, name)
    return name
