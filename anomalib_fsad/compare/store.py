# SPDX-License-Identifier: Apache-2.0
"""The results of cells on disk: a json and an npz each, and the table of all."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from anomalib_fsad.compare.cells import Cell
from anomalib_fsad.compare.mistakes import Mistakes
from anomalib_fsad.files import replacing


class Store:
    """A folder of finished cells; each is written when it is done, so that an interrupted run loses at most one.

    Args:
        folder: where it lies; made when first written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def row_file(self, cell: Cell) -> Path:
        """Its existence says that the cell is finished."""
        return self.folder / "cells" / f"{cell.name}.json"

    def log_file(self, cell: Cell) -> Path:
        """What the run of a cell printed."""
        return self.folder / "logs" / f"{cell.name}.log"

    def failure(self, cell: Cell) -> str:
        """Why a cell has no result, and where that is told at length."""
        log = self.log_file(cell)
        lines = log.read_text().splitlines() if log.is_file() else []
        return f"failed: {cell.name}: {lines[-1] if lines else 'not run'}; see {log}"

    def finished(self, cell: Cell) -> bool:
        """Whether there is a result."""
        return self.row_file(cell).is_file()

    def row(self, cell: Cell) -> dict[str, Any]:
        """The result of a finished cell."""
        found: dict[str, Any] = json.loads(self.row_file(cell).read_text())
        return found

    def write(
        self,
        cell: Cell,
        row: dict[str, Any],
        paths: list[str],
        scores: Any,
        labels: Any,
        worst: Mistakes | None = None,
    ) -> None:
        """Keep a row, the scores behind it and the worst images; the row last, and all at once."""
        file = self.row_file(cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        names = [Path(path).parts[-3:] for path in paths]  # .../<split>/<kind>/<file>, the same on every machine
        content = io.BytesIO()
        np.savez_compressed(
            content,
            paths=np.array(["/".join(parts) for parts in names]),
            scores=np.asarray(scores, dtype=np.float64),
            labels=np.asarray(labels, dtype=np.int64),
            **({} if worst is None else {f"worst_{name}": value for name, value in worst._asdict().items()}),
        )
        with replacing(file.with_suffix(".npz")) as draft:
            draft.write_bytes(content.getvalue())
        with replacing(file) as draft:
            draft.write_text(json.dumps(row, indent=1, default=str))

    def write_table(self) -> Path:
        """All rows in one csv."""
        rows = [json.loads(file.read_text()) for file in sorted((self.folder / "cells").glob("*.json"))]
        table = self.folder / "results.csv"
        with replacing(table) as draft:
            pd.DataFrame(rows).to_csv(draft, index=False)
        return table
