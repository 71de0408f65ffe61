# SPDX-License-Identifier: Apache-2.0
"""The seed rule: every random choice among images has a generator of its own, made of the seed and of what it is for.

So no choice depends on how many others were made before it, in which process, or by how many workers:

- ``(seed)``: the K support images of a folder or of a training set; the test images of a set without a split;
- ``(seed, "validation", category)``: its validation images;
- ``(seed, "order", epoch)``: the order of training;
- ``(seed, "episode", epoch, row)``: the supports of one training query.

The words keep the purposes apart: to NumPy, (seed), (seed, 0) and (seed, 0, 0) are one and the same.
"""

import numpy as np


def generator(seed: int, *what: int | str) -> np.random.Generator:
    """The generator of one choice.

    Args:
        seed: the user's.
        what: it is for: a word, and names or numbers that single it out.

    Example:
        >>> first, again = (generator(0, "validation", "fundus").permutation(9).tolist() for _ in range(2))
        >>> first == again
        True
    """
    numbers = [number for part in what for number in (part.encode() if isinstance(part, str) else [part])]
    return np.random.default_rng([seed, *numbers])
