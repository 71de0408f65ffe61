# SPDX-License-Identifier: Apache-2.0
"""Trainings on disk: cells that differ only in how a trained model is shown and read share one.

D24FAD is trained on other organs, and then shown any normal images of a new one, compared with them in any way. So one
training can serve every K, every draw of the K and every way of comparing.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from anomalib.models import AnomalibModule

from anomalib_fsad.compare.building import arguments_of, find_model
from anomalib_fsad.compare.cells import PLACES, Cell
from anomalib_fsad.files import replacing
from anomalib_fsad.models.components.checkpoint import load_plain

FROZEN = "teacher."
SHOWN = "support."

NO_SAY = (*PLACES, "k_shot", "support_seed")
"""Options of the data that have no say in a training: which supports are shown afterwards."""


class Trainings:
    """A folder of trained weights, without the teacher's.

    Args:
        folder: where they lie; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def file(self, cell: Cell) -> Path:
        """Named by all that has a say in the training."""
        path = cell.model_config["class_path"]
        parameters = arguments_of(path).items()
        model = {name: p.default for name, p in parameters if p.default is not p.empty}
        model |= cell.model_config["init_args"]
        for option in getattr(find_model(path), "shown_only", lambda _: ())(model):
            model.pop(option, None)
        data = {n: v for n, v in cell.data_config["init_args"].items() if n not in NO_SAY}
        training = {"train_k_shot": cell.k_shot} | {n: v for n, v in cell.training.items() if n != "threshold"}
        content = json.dumps([path, model, data, training], sort_keys=True, default=_plain)
        digest = hashlib.sha256(content.encode()).hexdigest()[:12]
        return self.folder / f"{path.rsplit('.', maxsplit=1)[-1]}-{cell.target}-{digest}.pt"

    def load(self, cell: Cell, model: AnomalibModule) -> dict[str, Any] | None:
        """Give a model the weights of a training, and tell how that went; ``None`` if there was none."""
        file = self.file(cell)
        if not file.is_file():
            return None
        content = load_plain(file)
        network: Any = model.model
        missing, unexpected = network.load_state_dict(content["weights"], strict=False)
        lost = [name for name in missing if not name.startswith((FROZEN, SHOWN))]
        if lost or unexpected:
            msg = f"{file} holds another network's weights ({[*lost, *unexpected][:3]}): delete it."
            raise ValueError(msg)
        return content["known"]

    def keep(self, cell: Cell, model: AnomalibModule, known: dict[str, Any]) -> None:
        """Write the weights, all at once."""
        file = self.file(cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        network: Any = model.model
        weights = {n: w for n, w in network.state_dict().items() if not n.startswith((FROZEN, SHOWN))}
        with replacing(file) as draft:
            torch.save({"weights": weights, "known": known}, draft)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple | list) else str(value)
