# SPDX-License-Identifier: Apache-2.0
"""What MedicalFewShot would make of a folder, and what would be wrong, without torch and without training.

The sets are found, read and parted by the very functions that the datamodule uses.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, get_args

import pandas as pd

from anomalib_fsad.data import splits
from anomalib_fsad.data.plan import make_plan
from anomalib_fsad.data.readers.discover import FoundSet, find_sets
from anomalib_fsad.data.readers.tables import LayoutError
from anomalib_fsad.data.splits import MissingMasks, Protocol
from anomalib_fsad.data.unreadable import failures
from anomalib_fsad.images.copies import copies_among
from anomalib_fsad.images.decoding import Header, ImageReadError, read_header, read_mask, read_rgb

HEADERS = 4000
"""Of so many images, evenly spread, the headers are read, unless all are to be decoded."""


class Question(NamedTuple):
    """What is to be tried; the names and the defaults are those of MedicalFewShot."""

    reader: str = "auto"
    target: str | None = None
    protocol: Protocol | None = None
    source_categories: Sequence[str] | None = None
    k_shot: int = 4
    support_seed: int = 0
    few_shot_source: Path | None = None
    missing_masks: MissingMasks = "raise"


class Category(NamedTuple):
    """One category as it is read."""

    category: str
    folder: str
    reader: str
    train_normal: int
    test_normal: int
    test_abnormal: int
    masks: int
    sizes: list[str]
    modes: list[str]


class Verdict(NamedTuple):
    """Whether a protocol would work for a target, and what is to be known of it."""

    target: str
    protocol: str
    problem: str
    notes: list[str]


class Preflight(NamedTuple):
    """All that was found.

    Attributes:
        categories: what is read.
        not_read: sub-folders without a known layout.
        problems: of whole sets.
        notes: what is no fault, but worth knowing.
        unreadable: files, each with the reason.
        images: how many images there are.
        looked_at: how many of them were looked into.
        verdicts: for each target and protocol.
    """

    categories: list[Category]
    not_read: list[str]
    problems: list[str]
    notes: list[str]
    unreadable: list[ImageReadError]
    images: int
    looked_at: int
    verdicts: list[Verdict]

    @property
    def hopeless(self) -> list[str]:
        """The targets for which nothing that was tried would work."""
        targets = dict.fromkeys(verdict.target for verdict in self.verdicts)
        return [t for t in targets if all(v.problem for v in self.verdicts if v.target == t)]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong: each target has a protocol that works, and every file looked into is readable."""
        return not (self.problems or self.unreadable or self.hopeless)


def preflight(root: Path, question: Question, *, decode: bool = False) -> Preflight:
    """Read the sets, look into their images and try the protocols.

    Args:
        root: folder of one set or several.
        question: what is to be tried.
        decode: decode every image and mask instead of reading headers only.
    """
    if question.reader == "phantom":
        msg = "reader='phantom' draws its images itself: there is nothing to check."
        raise ValueError(msg)
    found, unknown = find_sets(root, question.reader, {})
    problems: list[str] = []
    with _warnings() as notes:
        tables = [table for each in found if (table := _read(each, problems)) is not None]
    if not tables:
        return Preflight([], [str(folder) for folder in unknown], problems, notes, [], 0, 0, [])
    table = pd.concat(tables, ignore_index=True)
    looked, headers, unreadable = _look_into(table, decode=decode)
    targets = [splits.choose_target(table, question.target)] if question.target else sorted(set(table["category"]))
    return Preflight(
        categories=[_category(group, headers) for _, group in table.groupby("category", sort=True)],
        not_read=[str(folder) for folder in unknown],
        problems=problems,
        notes=notes + _copies(looked),
        unreadable=unreadable,
        images=len(table),
        looked_at=len(looked),
        verdicts=[
            _verdict(table, target, protocol, question)
            for target in targets
            for protocol in ([question.protocol] if question.protocol else get_args(Protocol))
        ],
    )


def _read(found: FoundSet, problems: list[str]) -> pd.DataFrame | None:
    try:
        return found.read().assign(folder=str(found.folder), reader=found.reader)
    except LayoutError as error:
        problems.append(str(error))
        return None


def _verdict(table: pd.DataFrame, target: str, protocol: Protocol, question: Question) -> Verdict:
    try:
        episodic = protocol == "episodic"
        sources = splits.choose_sources(table, target, question.source_categories) if episodic else []
        plan = make_plan(
            table[table["category"].isin([target, *sources])].reset_index(drop=True),
            target,
            sources,
            protocol=protocol,
            k_shot=question.k_shot,
            support_seed=question.support_seed,
            few_shot_source=question.few_shot_source,
            val_images=60,
            seed=0,
            batch_size=None,
            missing_masks=question.missing_masks,
        )
    except ValueError as error:
        return Verdict(target, protocol, str(error), [])
    return Verdict(target, protocol, "", plan.notes)


def _category(table: pd.DataFrame, headers: dict[str, Header]) -> Category:
    known = [headers[path] for path in table["image_path"] if path in headers]
    sizes = sorted({(header.width, header.height) for header in known}, key=lambda size: size[0] * size[1])
    shown = [f"{width} x {height}" for width, height in sizes]
    first = table.iloc[0]
    normal, train = table["label_index"] == 0, table["split"] == "train"
    return Category(
        category=str(first["category"]),
        folder=str(first["folder"]),
        reader=str(first["reader"]),
        train_normal=int((normal & train).sum()),
        test_normal=int((normal & ~train).sum()),
        test_abnormal=int((~normal & ~train).sum()),
        masks=int((table["mask_path"] != "").sum()),
        sizes=shown if len(shown) == 1 else [*shown[:1], *shown[-1:]],
        modes=sorted({header.mode for header in known}),
    )


def _look_into(table: pd.DataFrame, *, decode: bool) -> tuple[pd.DataFrame, dict[str, Header], list[ImageReadError]]:
    """The images looked into, what their headers say, and what cannot be read."""
    step = 1 if decode else -(-len(table) // HEADERS)
    looked = table.iloc[::step]
    headers: dict[str, Header] = {}

    def look(path: str) -> None:
        headers[path] = read_header(path)
        if decode:
            read_rgb(path)

    def look_at_mask(path: str) -> None:
        read_mask(path) if decode else read_header(path)

    unreadable = failures(look, list(looked["image_path"]), "Looking into images")
    masks = [path for path in looked["mask_path"] if path]
    return looked, headers, unreadable + failures(look_at_mask, masks, "Looking into masks")


def _copies(table: pd.DataFrame) -> list[str]:
    """Training images that are tested on as well: the split of the set, or the set itself, is at fault."""
    notes = []
    for category, group in table.groupby("category", sort=True):
        train, test = (group["image_path"][group["split"] == split] for split in ("train", "test"))
        twice = copies_among(train, test)
        if twice:
            notes.append(
                f"{category}: {len(twice)} training images are test images too, byte for byte: "
                f"{splits.named(list(twice))}."
            )
    return notes


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collects what the readers warn of, instead of printing it."""
    collected: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            collected.append(record.getMessage())

    source, collector = logging.getLogger("anomalib_fsad.data"), Collector(logging.WARNING)
    source.addHandler(collector)
    try:
        yield collected
    finally:
        source.removeHandler(collector)
