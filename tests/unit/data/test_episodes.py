# SPDX-License-Identifier: Apache-2.0
import os
from pathlib import Path

import numpy as np
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_fsad.data.episodes import EpisodeDraw, EpisodeSampler, FixedDraw

SIZES = {"a": 7, "b": 5, "c": 12}
CATEGORIES = [name for name, n in SIZES.items() for _ in range(n)]
PATHS = [f"{name}{i}" for i, name in enumerate(CATEGORIES)]


def sampler(world: int = 1, rank: int = 0, **options) -> EpisodeSampler:
    made = EpisodeSampler(PATHS, CATEGORIES, options.pop("batch_size", 4), **options)
    made.num_replicas, made.rank = world, rank
    return made


@settings(deadline=None, max_examples=50)
@given(row=st.integers(0, len(PATHS) - 1), epoch=st.integers(0, 99), k=st.integers(1, 4), seed=st.integers(0, 9))
def test_supports_are_others_of_the_same_category(row: int, epoch: int, k: int, seed: int) -> None:
    drawn = EpisodeDraw(PATHS, CATEGORIES, k, seed)(PATHS[row], CATEGORIES[row], epoch)
    assert len(set(drawn)) == k
    assert PATHS[row] not in drawn
    assert {path[0] for path in drawn} == {CATEGORIES[row]}


def test_supports_change_with_epoch_sample_and_seed_only() -> None:
    def epoch(number: int, seed: int, queries: list[tuple[str, str]]) -> list[list[str]]:
        draw = EpisodeDraw(PATHS, CATEGORIES, 2, seed)
        return [draw(path, category, number) for path, category in queries]

    queries = list(zip(PATHS, CATEGORIES, strict=True))
    first = epoch(0, 0, queries)
    assert first == epoch(0, 0, queries[::-1])[::-1]
    assert first != epoch(1, 0, queries)
    assert first != epoch(0, 1, queries)


def test_over_the_epochs_every_image_serves_as_support() -> None:
    draw = EpisodeDraw(PATHS, CATEGORIES, 2, seed=0)
    seen = {path for epoch in range(20) for path in draw(PATHS[0], "a", epoch)}
    assert seen == {path for path, name in zip(PATHS, CATEGORIES, strict=True) if name == "a"} - {PATHS[0]}


def test_fixed_supports() -> None:
    draw = FixedDraw({"a": ["x"], "b": ["y"]})
    assert [draw("1", "a", 0), draw("2", "b", 0), draw("3", "b", 5)] == [["x"], ["y"], ["y"]]


@settings(deadline=None, max_examples=40)
@given(epoch=st.integers(0, 5), world=st.integers(1, 4), same=st.booleans(), batch_size=st.integers(2, 5))
def test_any_number_of_processes_sees_the_same_epoch(epoch: int, world: int, same: bool, batch_size: int) -> None:
    """Every image comes up, with its epoch in its index, and no process has more to do than another."""
    shares = []
    for rank in range(world):
        mine = sampler(world, rank, batch_size=batch_size, same_category=same)
        mine.set_epoch(epoch)
        indices = list(mine)
        assert len(indices) == len(mine)
        shares.append(indices)
    assert len({len(share) for share in shares}) == 1
    rows = [divmod(index, len(PATHS)) for share in shares for index in share]
    assert {e for e, _ in rows} == {epoch}
    assert {row for _, row in rows} == set(range(len(PATHS)))
    if not same:
        single = sampler()
        single.set_epoch(epoch)
        interleaved = [shares[i % world][i // world] for i in range(len(PATHS))]
        assert interleaved == list(single)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_batches_of_one_category(world: int) -> None:
    for rank in range(world):
        mine = sampler(world, rank, same_category=True)
        batches = np.asarray(list(mine)).reshape(-1, 4)
        for batch in batches:
            assert len({CATEGORIES[row] for row in batch}) == 1
            assert len(set(batch.tolist())) == 4


def test_the_order_follows_seed_and_epoch() -> None:
    one, two = sampler(seed=1), sampler(seed=2)
    assert list(one) == list(sampler(seed=1))
    assert list(one) != list(two)
    one.set_epoch(1)
    assert [index - len(PATHS) for index in one] != list(sampler(seed=1))


def _share(rank: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT="29511")
    dist.init_process_group("gloo", rank=rank, world_size=2, init_method=f"file://{folder}/rendezvous")
    mine = EpisodeSampler(PATHS, CATEGORIES, 4, same_category=True)
    mine.set_epoch(3)
    np.save(Path(folder) / f"{rank}.npy", np.asarray(list(mine)))
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_real_processes_part_the_epoch(tmp_path: Path) -> None:
    mp.spawn(_share, args=(str(tmp_path),), nprocs=2)
    for rank in range(2):
        expected = sampler(2, rank, same_category=True)
        expected.set_epoch(3)
        assert np.load(tmp_path / f"{rank}.npy").tolist() == list(expected)
