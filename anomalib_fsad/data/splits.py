# SPDX-License-Identifier: Apache-2.0
"""From the table of all images to what is trained on, validated on, tested on and shown as support: pure functions."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pandas as pd

from anomalib_fsad.data.readers import Sample, to_table
from anomalib_fsad.images.copies import copies_among
from anomalib_fsad.images.listing import images_in
from anomalib_fsad.images.seeds import generator
from anomalib_fsad.images.support import choose_support

Protocol = Literal["episodic", "few_shot", "one_class"]

MissingMasks = Literal["raise", "skip", "classification"]

NAMED = 5
"""How many files a message names."""


def normals(table: pd.DataFrame, split: str, categories: Sequence[str] | None = None) -> pd.DataFrame:
    """The normal images of a split, of all or some categories."""
    chosen = (table["label_index"] == 0) & (table["split"] == split)
    if categories is not None:
        chosen &= table["category"].isin(list(categories))
    return table[chosen].reset_index(drop=True)


def choose_target(table: pd.DataFrame, target: str | None) -> str:
    """The target category, checked; a root of one category needs no name."""
    known = sorted(table["category"].unique())
    if target is None and len(known) == 1:
        return known[0]
    if target not in known:
        near = difflib.get_close_matches(str(target), known, n=1, cutoff=0.5)
        near = near or [name for name in known if name.lower() == str(target).lower()]
        hint = f" Did you mean {near[0]!r}?" if near else ""
        wrong = "target is not set" if target is None else f"target={target!r} is unknown"
        msg = f"{wrong}; the data holds {known}. Pass one of them as --data.target.{hint}"
        raise ValueError(msg)
    return str(target)


def choose_sources(table: pd.DataFrame, target: str, wanted: Sequence[str] | None) -> list[str]:
    """The categories trained on in episodes: all but the target, or those asked for."""
    others = [name for name in sorted(table["category"].unique()) if name != target]
    if wanted is None:
        if not others:
            msg = (
                f"protocol='episodic' trains on other categories than the target, but the data holds only {target!r}. "
                "Put more sets beside it, or pass --data.protocol few_shot or one_class."
            )
            raise ValueError(msg)
        return others
    chosen = [str(name) for name in wanted]
    if target in chosen:
        msg = f"source_categories={chosen} contains the target {target!r}, which training must not see; leave it out."
        raise ValueError(msg)
    unknown = [name for name in chosen if name not in others]
    if unknown or not chosen:
        msg = f"source_categories={chosen}: {unknown or 'nothing'} is not among the other categories {others}."
        raise ValueError(msg)
    return chosen


def support_of(table: pd.DataFrame, category: str, k_shot: int, seed: int) -> pd.DataFrame:
    """K normal training images of a category; a smaller K with the same seed gives a part of them."""
    pool = normals(table, "train", [category])
    if len(pool) < k_shot:
        msg = (
            f"k_shot={k_shot} needs {k_shot} normal training images of {category!r}, found {len(pool)}. "
            f"Pass --data.k_shot {max(len(pool), 1)} or less, add images, or give a folder as --data.few_shot_source."
        )
        raise ValueError(msg)
    return pool.iloc[choose_support(range(len(pool)), k_shot, seed)].reset_index(drop=True)


def read_support_folder(folder: Path, category: str, k_shot: int, seed: int, tests: pd.DataFrame) -> pd.DataFrame:
    """K images of a folder of normal images, none of which may be a test image, not even under another name.

    Args:
        folder: of normal images, in sub-folders too.
        category: that they show.
        k_shot: K.
        seed: of the choice.
        tests: the test images.
    """
    found = images_in(folder, below=True)
    if len(found) < k_shot:
        state = f"holds {len(found)} images" if folder.is_dir() else "is no folder"
        less = f"pass --data.k_shot {len(found)}, or " if found else ""
        msg = (
            f"few_shot_source={str(folder)!r} {state}, k_shot={k_shot} needs {k_shot}: {less}"
            "point it at a folder of normal images (PNG, JPEG, BMP, TIFF or DICOM)."
        )
        raise ValueError(msg)
    leaked = copies_among(found, tests["image_path"])
    if leaked:
        abnormal = set(tests["image_path"][tests["label_index"] == 1])
        bad = sum(same in abnormal for same in leaked.values())
        msg = (
            f"few_shot_source={str(folder)!r} holds {len(leaked)} test images of the data ({bad} of them abnormal): "
            f"{named(list(leaked))}. Figures on images that the model was shown mean nothing: take them out, or point "
            "it at a folder of other normal images."
        )
        raise ValueError(msg)
    chosen = choose_support(found, k_shot, seed)
    return to_table([Sample(path, "support", abnormal=False, split="train") for path in chosen], category)


def require_episodes(train: pd.DataFrame, sources: Sequence[str], k_shot: int, batch_size: int | None) -> None:
    """See that each source can fill an episode: a query and K others, or one batch of ``batch_size``."""
    for category in sources:
        count = int((train["category"] == category).sum())
        if count < k_shot + 1:
            msg = (
                f"k_shot={k_shot}: source {category!r} has {count} normal training images, but an episode needs a "
                f"query and {k_shot} others. Pass --data.k_shot {max(count - 1, 1)} or less, or leave the category out "
                "of --data.source_categories."
            )
            raise ValueError(msg)
        if batch_size is not None and count < batch_size:
            msg = (
                f"same_category_batches: source {category!r} has {count} normal training images, fewer than "
                f"train_batch_size={batch_size}. Pass --data.train_batch_size {count} or less."
            )
            raise ValueError(msg)


def few_of_each(table: pd.DataFrame, limit: int, seed: int) -> pd.DataFrame:
    """At most ``limit`` images of each category, half of them abnormal where there are enough."""
    parts = []
    for category, group in table.groupby("category", sort=True):
        good, bad = group[group["label_index"] == 0], group[group["label_index"] == 1]
        n_bad = min(len(bad), max(limit // 2, limit - len(good)))
        rng = generator(seed, "validation", str(category))
        for part, n in ((good, min(len(good), limit - n_bad)), (bad, n_bad)):
            parts.append(part.iloc[sorted(rng.permutation(len(part))[:n])])
    return pd.concat(parts, ignore_index=True) if parts else table


def hold_out(pool: pd.DataFrame, limit: int, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Part a table of normal images, category by category.

    Returns:
        What stays and what is held out: ``share`` of each category, but four images if that is no more than a third,
        and at most ``limit``.
    """
    stay, held = [], []
    for category, group in pool.groupby("category", sort=True):
        n = min(max(round(share * len(group)), min(4, len(group) // 3)), limit)
        order = generator(seed, "validation", str(category)).permutation(len(group))
        held.append(group.iloc[sorted(order[:n])])
        stay.append(group.iloc[sorted(order[n:])])
    if not stay:
        return pool, pool
    return pd.concat(stay, ignore_index=True), pd.concat(held, ignore_index=True)


def settle_masks(table: pd.DataFrame, missing_masks: MissingMasks) -> pd.DataFrame:
    """See to the categories of which some abnormal images have a mask and others have none.

    Args:
        table: of all images.
        missing_masks: ``raise`` names the images, ``skip`` leaves them out, ``classification`` takes the category as
            one without masks.
    """
    abnormal = table["label_index"] == 1
    masked = abnormal & (table["mask_path"] != "")
    partly = set(table["category"][masked]) & set(table["category"][abnormal & ~masked])
    lacking = abnormal & ~masked & table["category"].isin(partly)
    if not lacking.any():
        return table
    if missing_masks == "skip":
        return table[~lacking].reset_index(drop=True)
    if missing_masks == "classification":
        return table.assign(mask_path=table["mask_path"].where(~table["category"].isin(partly), ""))
    files = list(table["image_path"][lacking])
    msg = (
        f"{len(files)} of {int((abnormal & table['category'].isin(partly)).sum())} abnormal images of {sorted(partly)} "
        f"have no mask: {named(files)}. Add the masks, or pass --data.missing_masks skip to leave these images out, or "
        "--data.missing_masks classification to score images only and no pixels."
    )
    raise ValueError(msg)


def named(paths: Sequence[str]) -> str:
    """A few of many files, for a message."""
    shown = ", ".join(repr(str(path)) for path in paths[:NAMED])
    return shown if len(paths) <= NAMED else f"{shown} and {len(paths) - NAMED} more"


def has_masks(table: pd.DataFrame) -> bool:
    """Whether every abnormal image has a mask, and there is one."""
    abnormal = table[table["label_index"] == 1]
    return len(abnormal) > 0 and bool((abnormal["mask_path"] != "").all())
