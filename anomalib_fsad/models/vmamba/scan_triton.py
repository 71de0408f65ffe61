# SPDX-License-Identifier: Apache-2.0
"""The selective scan as one Triton kernel; symbols and shapes as in ``scan.py``.

A program owns one channel of one direction of one image and walks along L in tiles of T steps. Within a tile the
states come from an associative scan: a step is the map ``h -> a h + b``, and two steps in a row are
``h -> (a2 a1) h + (a2 b1 + b2)``, products of decays in (0, 1] that cannot overflow. States never leave the chip: the
kernel reads u, delta, B and C once and writes y once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _then(a1, b1, a2, b2):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - Triton's own types
    return a1 * a2, a2 * b1 + b2


@triton.jit
def _scan_kernel(  # type: ignore[no-untyped-def]  # noqa: ANN202
    u, delta, A, B, C, y,  # noqa: ANN001
    K, D, length,  # noqa: ANN001
    u_b, u_k, u_d, u_l,  # noqa: ANN001 - strides: u, delta and y share theirs, B and C theirs
    B_b, B_k, B_n, B_l,  # noqa: ANN001
    N: tl.constexpr, N_PADDED: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0)
    image, k, d = row // (K * D), row // D % K, row % D
    at = image.to(tl.int64) * u_b + k * u_k + d * u_d
    at_BC = image.to(tl.int64) * B_b + k * B_k
    n = tl.arange(0, N_PADDED)
    steps = tl.arange(0, T)
    A_n = tl.load(A + (k * D + d) * N + n, mask=n < N, other=0.0)  # N
    h = tl.zeros([N_PADDED], dtype=tl.float32)
    for start in range(0, length, T):
        t = start + steps
        inside = t < length
        # Beyond the end delta is 0: decay 1, no input.
        delta_t = tl.load(delta + at + t * u_l, mask=inside, other=0.0)  # T
        u_t = tl.load(u + at + t * u_l, mask=inside, other=0.0)
        place = at_BC + t[:, None] * B_l + n[None, :] * B_n
        mask = inside[:, None] & (n < N)[None, :]
        B_t = tl.load(B + place, mask=mask, other=0.0)  # T N
        C_t = tl.load(C + place, mask=mask, other=0.0)
        decay = tl.exp(delta_t[:, None] * A_n[None, :])
        decays, states = tl.associative_scan((decay, (delta_t * u_t)[:, None] * B_t), 0, _then)
        states += decays * h[None, :]
        tl.store(y + at + t * u_l, tl.sum(states * C_t, axis=1), mask=inside)
        h = tl.sum(tl.where((steps == T - 1)[:, None], states, 0.0), axis=0)


def scan_triton(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, tile: int = 128) -> Tensor:
    """The recurrence in one launch, ``tile`` steps (a power of two) at a time; no gradient."""
    batch, K, D, length = u.shape
    # Steps side by side in memory, as the tiles read them.
    u, delta, A, B, C = (tensor.contiguous() for tensor in (u, delta, A, B, C))
    y = torch.empty_like(u)
    n_states = A.shape[-1]
    _scan_kernel[(batch * K * D,)](
        u, delta, A, B, C, y,
        K, D, length,
        *u.stride(), *B.stride(),
        N=n_states, N_PADDED=triton.next_power_of_2(n_states), T=min(tile, triton.next_power_of_2(length)),
    )  # fmt: skip
    return y
