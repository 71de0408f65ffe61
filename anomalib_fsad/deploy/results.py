# SPDX-License-Identifier: Apache-2.0
"""The folder that ``predict`` fills: the table, the heat maps and the facts of one complete run, or nothing.

    OUTPUT/predictions.csv    a line for each image
    OUTPUT/predictions.json   bundle, enrolment, threshold and its source, versions, and whether the run is complete
    OUTPUT/heat_maps/         a picture for each image

A run is written into ``OUTPUT/unfinished/`` and moved up when it is complete, the table last: where there is a
``predictions.csv``, all belongs together. Results that are there already are replaced only if asked for, and only at
the end. What an interrupted run has done stays in ``unfinished``; a run that fails leaves nothing.
"""

import csv
import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TABLE = "predictions.csv"
FACTS = "predictions.json"
HEAT_MAPS = "heat_maps"
UNFINISHED = "unfinished"

ENTRIES = (HEAT_MAPS, FACTS, TABLE)
"""In the order in which they are moved up."""


class Results:
    """The results of a run while they are written; see :func:`new_results`.

    Attributes:
        facts: for ``predictions.json``; what is known at the end only may be put in until then.
    """

    def __init__(self, folder: Path, table: Any, facts: dict[str, Any]) -> None:
        self.folder = folder
        self.facts = facts
        self._table = table

    def add(self, cells: Iterable[str]) -> None:
        """A line of the table; its text is plain already."""
        self._table.writerow(cells)

    def heat_map(self, image: Path) -> Path:
        """Where the picture of an image goes. Its suffix is kept: a.png and a.dcm are two images."""
        path = self.folder / HEAT_MAPS / image.with_name(f"{image.name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_facts(self, *, complete: bool) -> None:
        """Write ``predictions.json``."""
        content = json.dumps({**self.facts, "complete": complete}, indent=2)
        (self.folder / FACTS).write_text(content + "\n", encoding="utf-8")


@contextmanager
def new_results(output: Path, header: Iterable[str], facts: dict[str, Any], *, overwrite: bool) -> Iterator[Results]:
    """Results to fill, complete when the context ends without an error.

    Args:
        output: the folder; other files in it are left alone.
        header: of the table.
        facts: what run this is.
        overwrite: whether earlier results, and what an interrupted run has left, may be replaced.
    """
    found = [name for name in (*ENTRIES, UNFINISHED) if (output / name).exists()]
    if found and not overwrite:
        msg = (
            f"The output {str(output)!r} already holds results ({', '.join(found)}): choose another place, or replace "
            "them with --overwrite."
        )
        raise ValueError(msg)
    draft = output / UNFINISHED
    _remove(draft)
    draft.mkdir(parents=True)
    try:
        with (draft / TABLE).open("w", newline="", encoding="utf-8") as file:
            results = Results(draft, csv.writer(file), facts)
            results.write_facts(complete=False)
            results.add(header)
            yield results
        results.write_facts(complete=True)
        _move_up(draft, output)
    except Exception:
        _remove(draft)
        raise


def _move_up(draft: Path, output: Path) -> None:
    for name in reversed(ENTRIES):
        _remove(output / name)
    for name in ENTRIES:
        if (draft / name).exists():
            (draft / name).replace(output / name)
    draft.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
