# SPDX-License-Identifier: Apache-2.0
"""Laws of the selective scan."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from anomalib_fsad.models.vmamba.scan import least_steps, scan_chunked, scan_plain, selective_scan
from anomalib_fsad.models.vmamba.scan_tiled import Tiling, scan_tiled
from tests.parity import selective_scan as golden_scan

FIGURES = Path(__file__).parents[3] / "parity/figures/selective_scan.json"
lengths = st.one_of(
    st.sampled_from([1, 2, 3, 13, 31, 64, 97, 127, 128, 211, 256, 509, 512, 1021, 1024, 2048]), st.integers(1, 140)
)
chunks = st.one_of(st.none(), st.integers(1, 150))
seeds = st.integers(0, 2**31)
tilings = st.one_of(st.none(), st.builds(Tiling, st.integers(1, 5), st.integers(1, 6), st.integers(1, 40)))


def problem(seed: int, length: int, low: float = 1e-6, high: float = 50.0) -> list[Tensor]:
    """(u, delta, A, B, C) with B K D N = 2 2 3 4, deltas spread evenly over the orders of magnitude."""
    g = torch.Generator().manual_seed(seed)
    delta = torch.rand(2, 2, 3, length, generator=g) * math.log(high / low) + math.log(low)
    return [
        torch.randn(2, 2, 3, length, generator=g),
        delta.exp(),
        -torch.randn(2, 3, 4, generator=g).exp(),
        torch.randn(2, 2, 4, length, generator=g),
        torch.randn(2, 2, 4, length, generator=g),
    ]


def assert_same(actual: Tensor, expected: Tensor, tolerance: float = 1e-5) -> None:
    assert torch.isfinite(actual).all()
    assert (actual - expected).abs().max() <= tolerance * (1 + expected.abs().max())


@given(seeds, lengths, chunks)
@example(0, 4096, None)
@example(1, 4096, 1)
@example(2, 4096, 5000)
@settings(max_examples=40, deadline=None)
def test_chunked_is_plain_for_any_length_and_chunk(seed, length, chunk):
    inputs = problem(seed, length)
    assert_same(scan_chunked(*inputs, chunk=chunk), scan_plain(*inputs))


@given(seeds, lengths, tilings)
@example(0, 4096, None)
@example(1, 4096, Tiling(rows=3, lanes=4, steps=5))
@example(2, 7, Tiling(rows=4, lanes=3, steps=9))
@settings(max_examples=40, deadline=None)
def test_tiled_is_plain_for_any_length_and_tiling(seed, length, tiling):
    inputs = problem(seed, length)
    assert_same(scan_tiled(*inputs, tiling=tiling), scan_plain(*inputs))


@pytest.mark.parametrize("delta", [1e-6, 1e-3, 1.0, 50.0])
def test_no_delta_overflows(delta):
    u, _, A, B, C = problem(3, 257)
    deltas = torch.full_like(u, delta)
    for chunk in (None, 1, 16, 257):
        assert_same(scan_chunked(u, deltas, 100 * A, B, C, chunk), scan_plain(u, deltas, 100 * A, B, C))
    for tiling in (None, Tiling(1, 1, 8), Tiling(2, 4, 16), Tiling(4, 257, 1)):
        assert_same(scan_tiled(u, deltas, 100 * A, B, C, tiling), scan_plain(u, deltas, 100 * A, B, C))


@given(seeds, lengths, chunks, st.floats(-4, 4), st.floats(-4, 4))
@settings(max_examples=20, deadline=None)
def test_linear_in_u(seed, length, chunk, a, b):
    u, delta, A, B, C = problem(seed, length)
    v = torch.randn_like(u)
    both = scan_chunked(a * u + b * v, delta, A, B, C, chunk)
    apart = a * scan_chunked(u, delta, A, B, C, chunk) + b * scan_chunked(v, delta, A, B, C, chunk)
    assert_same(both, apart)


@given(seeds, lengths, tilings, st.floats(-4, 4), st.floats(-4, 4))
@settings(max_examples=20, deadline=None)
def test_tiled_is_linear_in_u(seed, length, tiling, a, b):
    u, delta, A, B, C = problem(seed, length)
    v = torch.randn_like(u)
    both = scan_tiled(a * u + b * v, delta, A, B, C, tiling)
    apart = a * scan_tiled(u, delta, A, B, C, tiling) + b * scan_tiled(v, delta, A, B, C, tiling)
    assert_same(both, apart)


@given(seeds, st.integers(2, 150), chunks, tilings, st.data())
@settings(max_examples=20, deadline=None)
def test_what_was_is_not_changed_by_what_comes(seed, length, chunk, tiling, data):
    u, delta, A, B, C = problem(seed, length, low=1e-2, high=1.0)
    t = data.draw(st.integers(1, length - 1))
    changed = u.clone()
    changed[..., t] += 1
    for scan, how in ((scan_chunked, chunk), (scan_tiled, tiling)):
        before, after = scan(u, delta, A, B, C, how), scan(changed, delta, A, B, C, how)
        assert torch.equal(before[..., :t], after[..., :t])
        assert not torch.equal(before[..., t], after[..., t])


@pytest.mark.parametrize("length", [1, 37, 256])
def test_bfloat16_is_scanned_in_float32(length):
    inputs = [tensor.bfloat16() for tensor in problem(4, length)]
    y = selective_scan(*inputs)
    assert y.dtype == torch.bfloat16
    assert torch.equal(y, selective_scan(*(tensor.float() for tensor in inputs)).bfloat16())


def test_the_result_has_the_type_of_u():
    u, *others = problem(4, 37)
    y = selective_scan(u, *(tensor.bfloat16() for tensor in others))
    assert y.dtype == torch.float32
    assert torch.equal(y, selective_scan(u, *(tensor.bfloat16().float() for tensor in others)))


def test_autocast_does_not_reach_the_scan():
    inputs = problem(5, 64)
    expected = selective_scan(*inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(selective_scan(*inputs), expected)


def test_bias_and_skip():
    u, delta, A, B, C = problem(6, 50)
    bias, D = torch.randn(2, 3), torch.randn(2, 3)
    expected = scan_plain(u, torch.nn.functional.softplus(delta + bias[..., None]), A, B, C) + D[..., None] * u
    assert_same(selective_scan(u, delta, A, B, C, D, bias), expected)


@pytest.mark.parametrize("case", json.loads(FIGURES.read_text()), ids=lambda case: f"L{case['L']}")
def test_reference_figures(case):
    report = golden_scan.check(case)
    assert report.passed, "\n".join(report.lines())


@pytest.mark.parametrize("scan", [scan_chunked, scan_tiled])
def test_images_of_a_batch_do_not_touch(scan):
    u, delta, A, B, C = problem(7, 90)
    alone = torch.cat([scan(u[i : i + 1], delta[i : i + 1], A, B[i : i + 1], C[i : i + 1]) for i in (0, 1)])
    assert_same(scan(u, delta, A, B, C), alone)


def test_gradients_are_those_of_the_loop():
    inputs = [tensor.requires_grad_() for tensor in problem(8, 20)]
    expected = torch.autograd.grad(
        scan_plain(inputs[0], torch.nn.functional.softplus(inputs[1]), *inputs[2:]).sum(), inputs
    )
    for actual, gradient in zip(torch.autograd.grad(selective_scan(*inputs).sum(), inputs), expected, strict=True):
        assert_same(actual, gradient)


@given(st.integers(1, 64), st.integers(1, 200_000), st.integers(1, 5000))
def test_a_tile_fits_what_there_is(rows, states, length):
    tiling = Tiling.of(rows, states, length)
    assert min(tiling) >= 1
    assert tiling.rows <= rows
    assert tiling.lanes * tiling.steps <= length
    assert least_steps(length) <= math.sqrt(length) / 2 + 1
