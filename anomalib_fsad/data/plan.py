# SPDX-License-Identifier: Apache-2.0
"""The three protocols: which images are trained on, validated on, tested on and shown as support."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from anomalib_fsad.data import splits
from anomalib_fsad.data.splits import MissingMasks, Protocol
from anomalib_fsad.images.copies import copies_among

HELD_OUT_SHARE = 0.2
"""Of the normal training images, where validation has to come from them."""


class Plan(NamedTuple):
    """An experiment, as tables of images.

    Attributes:
        target: the category tested on.
        sources: the categories trained on in episodes; empty otherwise.
        train: normal images.
        val: normal and abnormal images, or only normal ones if ``synthetic``.
        synthetic: whether the abnormal validation images are still to be made.
        test: of the target.
        support: the K normal images of the target.
        notes: what works, but not as one might expect.
    """

    target: str
    sources: list[str]
    train: pd.DataFrame
    val: pd.DataFrame
    synthetic: bool
    test: pd.DataFrame
    support: pd.DataFrame
    notes: list[str]


def make_plan(
    table: pd.DataFrame,
    target: str,
    sources: Sequence[str],
    *,
    protocol: Protocol,
    k_shot: int,
    support_seed: int,
    few_shot_source: Path | None,
    val_images: int,
    seed: int,
    batch_size: int | None,
    missing_masks: MissingMasks,
) -> Plan:
    """Part the images of the target and of the sources.

    Args:
        table: all of them.
        target: the category tested on.
        sources: the categories trained on in episodes.
        protocol: ``episodic``, ``few_shot`` or ``one_class``.
        k_shot: number of support images.
        support_seed: of their choice.
        few_shot_source: folder to take them from instead.
        val_images: at most this many of each category are held out.
        seed: of their choice.
        batch_size: that each source must be able to fill, if batches are of one category.
        missing_masks: what becomes of a category of which only some abnormal images have a mask.
    """
    table = splits.settle_masks(table, missing_masks)
    tests = table[table["split"] == "test"]
    test = tests[tests["category"] == target].reset_index(drop=True)
    if test.empty:
        msg = f"target={target!r} has no test images; choose another --data.target."
        raise ValueError(msg)
    notes = [
        f"target {target!r} has no {kind} test images: AUROC cannot be computed."
        for index, kind in enumerate(("normal", "abnormal"))
        if not (test["label_index"] == index).any()
    ]
    if few_shot_source is None:
        support = splits.support_of(table, target, k_shot, support_seed)
    else:
        support = splits.read_support_folder(few_shot_source, target, k_shot, support_seed, tests)
    if protocol == "episodic":
        part = _from_sources(table, sources, val_images, seed)
        splits.require_episodes(part.train, sources, k_shot, batch_size)
    else:
        part = _from_target(table, target, support, protocol, val_images, seed)
        if part.train.empty:
            msg = f"protocol={protocol!r}: target {target!r} has no normal training images beside few_shot_source."
            raise ValueError(msg)
    notes += [part.note] if part.note else []
    return Plan(target, list(sources), part.train, part.val, part.synthetic, test, support, notes)


class _Part(NamedTuple):
    """What is trained and validated on; ``synthetic`` if the latter are only the normal images."""

    train: pd.DataFrame
    val: pd.DataFrame
    synthetic: bool
    note: str = ""


def _from_sources(table: pd.DataFrame, sources: Sequence[str], val_images: int, seed: int) -> _Part:
    train = splits.normals(table, "train", sources)
    tests = table[table["category"].isin(list(sources)) & (table["split"] == "test")]
    val = splits.few_of_each(tests, val_images, seed)
    if set(val["label_index"]) == {0, 1}:
        return _Part(train, val, synthetic=False, note=_half_masked(val))
    stay, held = splits.hold_out(train, val_images, HELD_OUT_SHARE, seed)
    note = "The sources have no labelled test images: validating on synthetic anomalies of theirs."
    return _Part(stay, held, synthetic=True, note=note)


def _half_masked(val: pd.DataFrame) -> str:
    """Validation has masks of all categories or of none."""
    masked = {str(name) for name, group in val.groupby("category") if splits.has_masks(group)}
    rest = sorted(set(val["category"][val["label_index"] == 1]) - masked)
    if not masked or not rest:
        return ""
    return (
        f"Of the sources, {sorted(masked)} have masks and {rest} have none: pixels are not validated, so pixel "
        "thresholds and normalisation are anomalib's defaults. Leave the latter out of --data.source_categories."
    )


def _from_target(
    table: pd.DataFrame, target: str, support: pd.DataFrame, protocol: Protocol, val_images: int, seed: int
) -> _Part:
    """No image of the support, under whatever name, is validated on."""
    pool = splits.normals(table, "train", [target])
    supports = pool["image_path"].isin(list(copies_among(pool["image_path"], support["image_path"])))
    if protocol == "few_shot":
        train = support
        _, held = splits.hold_out(pool[~supports], val_images, 1.0, seed)
    else:
        stay, held = splits.hold_out(pool[~supports], val_images, HELD_OUT_SHARE, seed)
        train = pd.concat([pool[supports], stay], ignore_index=True)
    note = ""
    if len(train) == 1:
        note = (
            "Training sees a single image: a model that compares the images of a batch with one another needs "
            "--data.k_shot 2 or more, or --data.protocol episodic."
        )
    if held.empty and not train.empty:
        note = "No normal images are left to hold out: the threshold comes from the training images."
        held = train
    return _Part(train, held, synthetic=True, note=note)
