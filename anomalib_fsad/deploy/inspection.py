# SPDX-License-Identifier: Apache-2.0
"""What is in a bundle, an enrolment or a checkpoint, as plain data."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalib_fsad.deploy.bundle import load_bundle
from anomalib_fsad.deploy.enrolment import Enrolment

STATISTICS = "post_processor."


def inspect_path(path: str | Path) -> dict[str, Any]:
    """Describe a bundle (a folder), an enrolment (``.npz``) or a checkpoint (anything else).

    Raises:
        BundleError: if a bundle or an enrolment is damaged.
        ValueError: if it is none of the three.
    """
    path = Path(path)
    if path.is_dir():
        return _bundle(path)
    if path.suffix == ".npz":
        return _enrolment(path)
    if not path.is_file():
        msg = f"{str(path)!r} does not exist."
        raise FileNotFoundError(msg)
    return _checkpoint(path)


def _bundle(path: Path) -> dict[str, Any]:
    bundle = load_bundle(path)
    metadata = bundle.metadata
    for name in metadata.files:
        bundle.read(name)
    return {
        "kind": "bundle",
        "digest": bundle.digest,
        "model": metadata.model,
        "backbone": metadata.backbone,
        "image_size": list(metadata.image_size),
        "normalization": metadata.normalization,
        "image_score": metadata.image_score,
        "scores": "normalised to [0, 1]" if metadata.normalized else "raw",
        "threshold": "the checkpoint's" if metadata.labelled else "none: enrol with a target false-positive rate",
        "post_processing": metadata.post_processing,
        "backends": list(bundle.backends),
        "files": {name: f"{record.bytes:,} bytes, hash right" for name, record in metadata.files.items()},
        "software": metadata.software,
    }


def _enrolment(path: Path) -> dict[str, Any]:
    enrolment = Enrolment.load(path)
    threshold = enrolment.threshold
    return {
        "kind": "enrolment",
        "bundle": enrolment.bundle,
        "references": list(enrolment.names),
        "normal_scores": [round(float(score), 6) for score in enrolment.normal_scores],
        "threshold": "the bundle's" if threshold is None else dict(threshold._asdict()),
        "megabytes": round(sum(maps.nbytes for maps in enrolment.maps) / 1e6, 2),
    }


def _checkpoint(path: Path) -> dict[str, Any]:
    import torch
    from anomalib.utils.serialization import anomalib_safe_globals

    try:
        with anomalib_safe_globals():
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        msg = f"{str(path)!r} is no bundle, no enrolment and no checkpoint of plain tensors: {reason}"
        raise ValueError(msg) from error
    if not isinstance(content, Mapping):
        msg = f"{str(path)!r} holds a {type(content).__name__}, no checkpoint."
        raise ValueError(msg)
    if "state_dict" not in content or "pytorch-lightning_version" not in content:
        return _foreign(content)
    state = content["state_dict"]
    support = state.get("model.support.images")
    summary: dict[str, Any] = {
        "kind": "checkpoint",
        "model": content.get("anomalib_fsad_model", "of another library"),
        "arguments": dict(content.get("hyper_parameters", {})),
        "epoch": content.get("epoch"),
        "parameters": sum(value.numel() for name, value in state.items() if name.startswith("model.")),
        "lightning": content["pytorch-lightning_version"],
        "statistics": {
            name.removeprefix(STATISTICS).lstrip("_"): float(value) if math.isfinite(float(value)) else None
            for name, value in state.items()
            if name.startswith(STATISTICS) and value.numel() == 1
        },
    }
    return summary if support is None else {**summary, "references": int(support.shape[0])}


def _foreign(content: Mapping[Any, Any]) -> dict[str, Any]:
    """A file of another code: its parts, and what they look like."""
    parts = {
        str(name): f"{len(part)} entries" if isinstance(part, Mapping) else type(part).__name__
        for name, part in list(content.items())[:50]
    }
    looks_like = "D24FAD" if {"decoder", "weight"} <= parts.keys() else None
    hint = f"anomalib-fsad convert {looks_like} ..." if looks_like else "anomalib-fsad convert, if it is the authors'"
    return {"kind": "weights of another code", "entries": len(content), "parts": parts, "hint": hint}
