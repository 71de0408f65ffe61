# SPDX-License-Identifier: Apache-2.0
"""The authors' D24FAD checkpoints: a dict with the student as ``decoder`` and L2W as ``weight``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalib_fsad.models.components import load_authors, load_plain, without_module
from anomalib_fsad.models.components.weights import CLASSIFIER_PREFIXES
from anomalib_fsad.models.d24fad.lightning_model import D24FAD

PARTS = ("decoder", "weight")


def from_authors(source: str | Path | Mapping[str, Any], **init_args: Any) -> D24FAD:
    """A ``D24FAD`` with the authors' weights, which scores as their network does.

    Args:
        source: their checkpoint, as a file or loaded; an ``encoder`` in it replaces the teacher's weights too.
        init_args: arguments of ``D24FAD``; the teacher's weights come from ``pre_trained`` unless ``source`` has them.

    Raises:
        ValueError: if this is not such a checkpoint, or of another backbone.
    """
    parts = source if isinstance(source, Mapping) else _read(Path(source))
    missing = [part for part in PARTS if not isinstance(parts.get(part), Mapping)]
    if missing:
        msg = f"This is no D24FAD checkpoint of the authors': {missing} missing; it has {sorted(map(str, parts))}."
        raise ValueError(msg)
    if "encoder" in parts:
        init_args.setdefault("pre_trained", False)
    model = D24FAD(**init_args)
    backbone = init_args.get("backbone", "wide_resnet50_2")
    decoder, weight = without_module(parts["decoder"]), without_module(parts["weight"])
    load_authors(model.model.student, decoder, f"the decoder of a {backbone}")
    load_authors(model.model.l2w, {_projection_name(name): v for name, v in weight.items()}, f"L2W of a {backbone}")
    if "encoder" in parts:
        encoder = without_module(parts["encoder"])
        kept = {name: v for name, v in encoder.items() if not name.startswith(CLASSIFIER_PREFIXES)}
        load_authors(model.model.teacher.network, kept, f"the encoder, a {backbone}")
    return model


def _projection_name(name: str) -> str:
    """``proj_in1.weight`` is ``projections.0.weight`` here."""
    layer, leaf = name.rsplit(".", 1)
    return f"projections.{int(layer.removeprefix('proj_in')) - 1}.{leaf}"


def _read(path: Path) -> Mapping[str, Any]:
    if not path.is_file():
        msg = f"The checkpoint {str(path)!r} does not exist."
        raise FileNotFoundError(msg)
    content = load_plain(path)
    if not isinstance(content, Mapping):
        msg = f"{str(path)!r} holds a {type(content).__name__}, not a dict of state dicts."
        raise ValueError(msg)
    return content
