# SPDX-License-Identifier: Apache-2.0
"""The three protocols: which images are trained on, validated on, tested on and shown as support."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from anomalib_fsad.data import splits
from anomalib_fsad.data.splits import Protocol

logger = logging.getLogger(__name__)

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
    """

    target: str
    sources: list[str]
    train: pd.DataFrame
    val: pd.DataFrame
    synthetic: bool
    test: pd.DataFrame
    support: pd.DataFrame


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
    """
    test = table[(table["category"] == target) & (table["split"] == "test")].reset_index(drop=True)
    if test.empty:
        msg = f"target={target!r} has no test images; choose another --data.target."
        raise ValueError(msg)
    if few_shot_source is None:
        support = splits.support_of(table, target, k_shot, support_seed)
    else:
        support = splits.read_support_folder(few_shot_source, target, k_shot, support_seed)
    if protocol == "episodic":
        train, val, synthetic = _from_sources(table, sources, val_images, seed)
        splits.require_episodes(train, sources, k_shot, batch_size)
    else:
        train, val = _from_target(table, target, support, protocol, val_images, seed)
        synthetic = True
        if train.empty:
            msg = f"protocol={protocol!r}: target {target!r} has no normal training images beside few_shot_source."
            raise ValueError(msg)
    return Plan(target, list(sources), train, val, synthetic, test, support)


def _from_sources(
    table: pd.DataFrame, sources: Sequence[str], val_images: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame, bool]:
    """Training images, validation images, and whether these are only the normal ones."""
    train = splits.normals(table, "train", sources)
    tests = table[table["category"].isin(list(sources)) & (table["split"] == "test")]
    val = splits.few_of_each(tests, val_images, seed)
    if set(val["label_index"]) == {0, 1}:
        return train, val, False
    logger.warning("The sources have no labelled test images: validating on synthetic anomalies of theirs.")
    return *splits.hold_out(train, val_images, HELD_OUT_SHARE, seed), True


def _from_target(
    table: pd.DataFrame, target: str, support: pd.DataFrame, protocol: Protocol, val_images: int, seed: int
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training images and normal validation images, none of which is a support image."""
    pool = splits.normals(table, "train", [target])
    supports = pool["image_path"].isin(support["image_path"])
    if protocol == "few_shot":
        train = support
        _, held = splits.hold_out(pool[~supports], val_images, 1.0, seed)
    else:
        stay, held = splits.hold_out(pool[~supports], val_images, HELD_OUT_SHARE, seed)
        train = pd.concat([pool[supports], stay], ignore_index=True)
    if held.empty and not train.empty:
        logger.warning("No normal images are left to hold out: the threshold comes from the training images.")
        held = train
    return train, held
