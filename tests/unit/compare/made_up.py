# SPDX-License-Identifier: Apache-2.0
"""A small set of results whose summary is known."""

import json
from pathlib import Path

import numpy as np

LABELS = [0, 0, 0, 0, 1, 1, 1, 1]
PERFECT = [0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9]
HALF = [0.5] * 8
ONE_WRONG = [0.1, 0.2, 0.3, 0.65, 0.6, 0.7, 0.8, 0.9]  # 15 of 16 pairs in order

PAIRS = {"PERFECT": (PERFECT, 1.0), "HALF": (HALF, 0.5), "ONE_WRONG": (ONE_WRONG, 15 / 16)}


def write_cell(
    folder: Path,
    model: str,
    kind: str,
    *,
    target: str = "lung",
    seed: int = 0,
    protocol: str = "few_shot",
    k_shot: int = 2,
    evaluation: str = "held_out",
    **more: float,
) -> None:
    """What anomalib_fsad.compare.run leaves of a cell."""
    scores, auroc = PAIRS[kind]
    cells = folder / "cells"
    cells.mkdir(parents=True, exist_ok=True)
    name = f"{model}-{protocol}-{target}-k{k_shot}-s{seed}-{evaluation}"
    row = {
        "model": model,
        "protocol": protocol,
        "target": target,
        "k_shot": k_shot,
        "seed": seed,
        "evaluation": evaluation,
        "image_AUROC": auroc,
        "image_F1Score": 0.5,
        "ms_per_image": 10.0,
        "peak_memory_mib": 900.0,
        **more,
    }
    (cells / f"{name}.json").write_text(json.dumps(row))
    np.savez(cells / f"{name}.npz", paths=[f"test/{i}.png" for i in range(8)], scores=scores, labels=LABELS)
