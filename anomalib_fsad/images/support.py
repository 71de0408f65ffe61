# SPDX-License-Identifier: Apache-2.0
"""Which K normal images are the support: one rule for the datamodule, the models, the deployment and the benchmarks."""

from collections.abc import Sequence
from typing import TypeVar

from anomalib_fsad.images.seeds import generator

T = TypeVar("T")


def choose_support(items: Sequence[T], k_shot: int, seed: int = 0) -> list[T]:
    """``k_shot`` of ``items``, in their order, always the same for a seed; those of a smaller K are among them.

    Args:
        items: all there is to choose from, in an order that does not change, such as sorted paths.
        k_shot: how many; no more than there are.
        seed: of the choice.

    Example:
        >>> two, four = (choose_support("abcdefgh", k, seed=0) for k in (2, 4))
        >>> set(two) < set(four)
        True
    """
    if not 1 <= k_shot <= len(items):
        msg = f"k_shot={k_shot}: there are {len(items)} images to choose from."
        raise ValueError(msg)
    order = generator(seed).permutation(len(items))
    return [items[place] for place in sorted(order[:k_shot])]
