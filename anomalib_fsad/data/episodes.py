# SPDX-License-Identifier: Apache-2.0
"""Which support images a query gets, and in which order queries come.

Draws follow the seed rule of :mod:`anomalib_fsad.images.seeds`, so they are the same under any number of workers and
processes. The epoch reaches the workers inside the index itself: index = epoch * n + row.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch.distributed as dist
from torch.utils.data import Dataset, DistributedSampler

from anomalib_fsad.images.seeds import generator


class EpisodeDraw:
    """K other images of the query's category, drawn afresh each epoch.

    Args:
        paths: the images of the training set, in its order.
        categories: the category of each.
        k_shot: K.
        seed: of the draws.

    Example:
        >>> draw = EpisodeDraw(["a0", "a1", "a2", "b0", "b1", "b2"], list("aaabbb"), k_shot=2, seed=0)
        >>> sorted(draw("a1", "a", epoch=0))
        ['a0', 'a2']
    """

    def __init__(self, paths: Sequence[str], categories: Sequence[str], k_shot: int, seed: int) -> None:
        self.paths = list(paths)
        self.k_shot = k_shot
        self.seed = seed
        self.row_of = {path: row for row, path in enumerate(self.paths)}
        names = np.asarray(categories)
        self.rows_of = {str(name): np.flatnonzero(names == name) for name in np.unique(names)}

    def __call__(self, path: str, category: str, epoch: int) -> list[str]:
        """Paths of the supports of the query at ``path``."""
        row, rows = self.row_of[path], self.rows_of[category]
        others = rows[rows != row]
        drawn = generator(self.seed, "episode", epoch, row).permutation(others)[: self.k_shot]
        return [self.paths[i] for i in drawn]


class FixedDraw:
    """The same K images for every query of a category, as at test time.

    Args:
        supports: the support paths of each category.
    """

    def __init__(self, supports: Mapping[str, Sequence[str]]) -> None:
        self.supports = {name: list(paths) for name, paths in supports.items()}

    def __call__(self, path: str, category: str, epoch: int) -> list[str]:
        """Paths of the supports of a query of ``category``."""
        del path, epoch
        return self.supports[category]


class EpisodeSampler(DistributedSampler[int]):
    """Shuffled training indices that carry their epoch, sharded over the processes.

    It is a ``DistributedSampler`` also in one process, so that Lightning leaves it in place and tells it the epoch.

    Args:
        dataset: what is sampled.
        categories: the category of each of its rows.
        batch_size: of the loader.
        same_category: make each batch of one category; its last batch is filled up with more images of it.
        seed: of the order.
    """

    def __init__(
        self,
        dataset: Dataset,
        categories: Sequence[str],
        batch_size: int,
        *,
        same_category: bool = False,
        seed: int = 0,
    ) -> None:
        distributed = dist.is_available() and dist.is_initialized()
        super().__init__(
            dataset,
            num_replicas=dist.get_world_size() if distributed else 1,
            rank=dist.get_rank() if distributed else 0,
            seed=seed,
        )
        self.categories = np.asarray(categories)
        self.batch_size = batch_size
        self.same_category = same_category

    def __iter__(self) -> Iterator[int]:
        """This process's share of the epoch: whole blocks, each one index or one batch of a category."""
        blocks = self._blocks(generator(self.seed, "order", self.epoch))
        mine = [blocks[i % len(blocks)] for i in range(self.rank, self._padded(len(blocks)), self.num_replicas)]
        offset = self.epoch * len(self.categories)
        return iter([offset + int(row) for block in mine for row in block])

    def __len__(self) -> int:
        """How many indices this process yields."""
        if not self.same_category:
            return self._padded(len(self.categories)) // self.num_replicas
        _, counts = np.unique(self.categories, return_counts=True)
        n_blocks = int(np.ceil(counts / self.batch_size).sum())
        return self._padded(n_blocks) // self.num_replicas * self.batch_size

    def _padded(self, n: int) -> int:
        """The next multiple of the number of processes."""
        return -(-n // self.num_replicas) * self.num_replicas

    def _blocks(self, rng: np.random.Generator) -> list[np.ndarray]:
        if not self.same_category:
            return list(rng.permutation(len(self.categories))[:, None])
        blocks = []
        for name in np.unique(self.categories):
            rows = rng.permutation(np.flatnonzero(self.categories == name))
            short = -len(rows) % self.batch_size
            # The fill comes from the head of the order, the last batch from its tail: no image twice in a batch.
            rows = np.concatenate([rows, rows[:short]])
            blocks += np.split(rows, len(rows) // self.batch_size)
        return [blocks[i] for i in rng.permutation(len(blocks))]
