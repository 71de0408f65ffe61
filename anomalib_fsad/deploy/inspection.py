# SPDX-License-Identifier: Apache-2.0
"""What is in a bundle, an enrolment or a checkpoint, as plain data."""

import math
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anomalib_fsad.deploy.bundle import Bundle, BundleError, Metadata, load_bundle
from anomalib_fsad.deploy.enrolment import Enrolment

STATISTICS = "post_processor."


def inspect_path(path: str | Path) -> dict[str, Any]:
    """Describe a bundle (a folder), an enrolment (``.npz``) or a checkpoint (anything else).

    What is wrong with single files of a bundle is listed under ``damaged``.

    Raises:
        BundleError: if a bundle's json or an enrolment is damaged.
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
    faults = {name: fault for name in metadata.files if (fault := _fault(bundle, name))}
    content = {
        "kind": "bundle",
        "digest": bundle.digest,
        "model": metadata.model,
        "backbone": metadata.backbone,
        "image_size": list(metadata.image_size),
        "normalization": metadata.normalization,
        "image_score": metadata.image_score,
        "compares": _comparison(metadata),
        "scores": "normalised to [0, 1]" if metadata.normalized else "raw",
        "threshold": "the checkpoint's" if metadata.labelled else _without_threshold(metadata),
        "post_processing": metadata.post_processing,
        "backends": list(bundle.backends),
        "files": {
            name: f"{record.bytes:,} bytes, {'damaged' if name in faults else 'hash right'}"
            for name, record in metadata.files.items()
        },
        "software": metadata.software,
    }
    return {**content, "damaged": list(faults.values())} if faults else content


def _comparison(metadata: Metadata) -> str:
    if not metadata.few_shot:
        return "with nothing: predict without an enrolment"
    return "place by place with the enrolled images" if metadata.bank is None else "patches with those enrolled"


def _without_threshold(metadata: Metadata) -> str:
    return "none: enrol with a target false-positive rate" if metadata.few_shot else "none: scores are raw"


def _fault(bundle: Bundle, name: str) -> str | None:
    try:
        bundle.read(name)
    except BundleError as error:
        return str(error)
    return None


def _enrolment(path: Path) -> dict[str, Any]:
    enrolment = Enrolment.load(path)
    threshold = enrolment.threshold
    return {
        "kind": "enrolment",
        "digest": enrolment.digest,
        "bundle": enrolment.bundle,
        "support": list(enrolment.names),
        "normal_scores": [round(float(score), 6) for score in enrolment.normal_scores],
        "threshold": "the checkpoint's" if threshold is None else dict(threshold._asdict()),
        "megabytes": round(sum(maps.nbytes for maps in enrolment.maps) / 1e6, 2),
    }


def _checkpoint(path: Path) -> dict[str, Any]:
    if not _is_torch_file(path):
        msg = f"{str(path)!r} is no bundle (a folder), no enrolment (.npz) and no checkpoint, but another kind of file."
        raise ValueError(msg)
    import torch
    from anomalib.utils.serialization import anomalib_safe_globals

    from anomalib_fsad.models.components.checkpoint import refuse_compressed

    refuse_compressed(path)
    try:
        with anomalib_safe_globals():
            content = torch.load(path, map_location="cpu", weights_only=True)
    # torch's own words advise to load such a file all the same.
    except pickle.UnpicklingError as error:
        msg = (
            f"{str(path)!r} is no checkpoint of plain tensors: it is damaged, or holds other Python objects, which "
            "could run code while they are loaded."
        )
        raise ValueError(msg) from error
    except Exception as error:
        msg = f"{str(path)!r} is a damaged or truncated checkpoint ({first_line(error)})."
        raise ValueError(msg) from error
    if not isinstance(content, Mapping):
        msg = f"{str(path)!r} holds a {type(content).__name__}, no checkpoint."
        raise ValueError(msg)
    if "state_dict" not in content or "pytorch-lightning_version" not in content:
        return _foreign(content)
    state, arguments = content["state_dict"], content.get("hyper_parameters", {})
    if not _are_tensors(state) or not isinstance(arguments, Mapping):
        msg = f"{str(path)!r} is a damaged checkpoint: its state_dict or hyper_parameters are of another kind."
        raise ValueError(msg)
    support = state.get("model.support.images")
    summary: dict[str, Any] = {
        "kind": "checkpoint",
        "model": content.get("anomalib_fsad_model", "of another library"),
        "arguments": dict(arguments),
        "epoch": content.get("epoch"),
        "parameters": sum(value.numel() for name, value in state.items() if name.startswith("model.")),
        "lightning": content["pytorch-lightning_version"],
        "statistics": {
            name.removeprefix(STATISTICS).lstrip("_"): float(value) if math.isfinite(float(value)) else None
            for name, value in state.items()
            if name.startswith(STATISTICS) and value.numel() == 1
        },
    }
    return summary if support is None else {**summary, "support": int(support.shape[0])}


def first_line(error: Exception) -> str:
    """What an error says first, or its kind where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def _are_tensors(state: Any) -> bool:
    import torch

    return isinstance(state, Mapping) and all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()
    )


def _is_torch_file(path: Path) -> bool:
    """Whether it may be one of torch: an archive with a pickle in it, or, as long ago, a pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("data.pkl") for name in archive.namelist())
    except OSError:
        raise
    except Exception:  # no archive, or a damaged one: torch says of what begins as its files do what is wrong with it
        with path.open("rb") as file:
            return file.read(2) in {b"PK", b"\x80\x02"}


def _foreign(content: Mapping[Any, Any]) -> dict[str, Any]:
    """A file of another code: its parts, and what they look like."""
    parts = {
        str(name): f"{len(part)} entries" if isinstance(part, Mapping) else type(part).__name__
        for name, part in list(content.items())[:50]
    }
    looks_like = "D24FAD" if {"decoder", "weight"} <= parts.keys() else None
    hint = f"anomalib-fsad convert {looks_like} ..." if looks_like else "anomalib-fsad convert, if it is the authors'"
    return {"kind": "weights of another code", "entries": len(content), "parts": parts, "hint": hint}
