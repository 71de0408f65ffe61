# SPDX-License-Identifier: Apache-2.0
"""The selective scan, the recurrence at the heart of Mamba, in plain torch.

    h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t          (one state of N numbers per channel)
    y_t = C_t h_t + D u_t

B batch, K directions that share one B and C each, D channels, N states, L steps. Shapes throughout:
u, delta, y: B K D L    A: K D N, negative    B, C: B K N L    D: K D    delta_bias: K D

``scan_plain`` is the recurrence as it stands. ``scan_chunked`` gives the same in down to ``sqrt(L)`` steps: it
cuts L into chunks and runs them side by side, once to learn with which state each chunk ends, and again from the state
that the chunks before it hand on. Both exponentiate nothing but ``delta A <= 0``, so no delta can overflow them.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from anomalib_fsad.models.vmamba.scan_gpu import Scan, gpu_scan
from anomalib_fsad.models.vmamba.scan_tiled import scan_tiled


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    delta_bias: Tensor | None = None,
) -> Tensor:
    """The scan with ``delta = softplus(delta + delta_bias)``, in float32 whatever the inputs' type.

    On a GPU a fused kernel does it where there is one, else the chunked scan; an exported graph gets one operator.

    Example:
        >>> import torch
        >>> u, delta = torch.randn(2, 1, 4, 3, 10)  # B K D L = 1 4 3 10
        >>> B, C = torch.randn(2, 1, 4, 5, 10)  # N = 5
        >>> selective_scan(u, delta, -torch.rand(4, 3, 5), B, C).shape
        torch.Size([1, 4, 3, 10])
    """
    if torch.is_autocast_enabled(u.device.type):
        with torch.autocast(u.device.type, enabled=False):
            return selective_scan(u, delta, A, B, C, D, delta_bias)
    dtype = u.dtype
    if any(tensor.dtype != torch.float32 for tensor in (u, delta, A, B, C)):  # an idle cast would be a node of a graph
        u, delta, A, B, C = (tensor.float() for tensor in (u, delta, A, B, C))
    delta = F.softplus(delta if delta_bias is None else delta + delta_bias.unsqueeze(-1))
    y = _implementation(u, delta, A, B, C)(u, delta, A, B, C)
    if D is not None:
        y = y + D.unsqueeze(-1) * u
    return y if dtype == torch.float32 else y.to(dtype)


def _implementation(*inputs: Tensor) -> Scan:
    if torch.compiler.is_exporting():
        from anomalib_fsad.models.vmamba.scan_export import scan_exported

        return scan_exported
    if torch.compiler.is_compiling():
        return scan_chunked
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs):
        return scan_plain  # the others write in place
    if inputs[0].is_cuda:
        return gpu_scan() or scan_chunked
    return scan_tiled


def scan_plain(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The recurrence step by step: what every other form here is tested against."""
    h = torch.zeros(u.shape[0], *A.shape, dtype=u.dtype, device=u.device)  # B K D N
    y = []
    for t in range(u.shape[-1]):
        delta_t = delta[..., t, None]  # B K D 1
        h = torch.exp(delta_t * A) * h + delta_t * u[..., t, None] * B[..., None, :, t]
        y.append((h * C[..., None, :, t]).sum(dim=-1))
    return torch.stack(y, dim=-1)


def least_steps(length: int) -> int:
    """A chunk with few steps over all: those within it count twice, those over the chunks are logarithmic."""
    return max(1, math.ceil(math.sqrt(length) / 2))


def scan_chunked(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, chunk: int | None = None) -> Tensor:
    """The recurrence, S = ceil(L / chunk) chunks side by side; needs no gradient."""
    batch, K, D, length = u.shape
    if chunk is None:
        chunk = least_steps(length)
    chunk = min(chunk, length)
    chunks = -(-length // chunk)

    def in_chunks(sequence: Tensor) -> Tensor:
        """B K X L -> B T S K X, T the steps of a chunk. Added steps have delta 0: they leave the state alone."""
        padded = F.pad(sequence, (0, chunks * chunk - length)) if length % chunk else sequence
        return padded.reshape(batch, K, -1, chunks, chunk).permute(0, 4, 3, 1, 2).contiguous()

    # Channels last, the long axis contiguous: A is K N D, the state B S K N D.
    A = A.transpose(1, 2)
    deltas = in_chunks(delta).unsqueeze(-2)  # B T S K 1 D
    delta_steps = deltas.unbind(1)
    input_steps = in_chunks(delta * u).unsqueeze(-2).unbind(1)
    B_steps = in_chunks(B).unsqueeze(-1).unbind(1)  # B S K N 1 each
    C_steps = in_chunks(C).unsqueeze(-2).unbind(1)  # B S K 1 N each

    def advance(h: Tensor, t: int) -> Tensor:
        decay = (delta_steps[t] * A).exp_()
        return decay.mul_(h).addcmul_(B_steps[t], input_steps[t])

    h = torch.zeros(batch, chunks, K, A.shape[1], D, dtype=u.dtype, device=u.device)
    if chunks > 1:
        for t in range(chunk):
            h = advance(h, t)
        # A chunk as a whole is one step of the same recurrence: its decay is that of the sum of its deltas.
        h = states_before(torch.exp(deltas.sum(1) * A), h)
    y = []
    for t in range(chunk):
        h = advance(h, t)
        y.append(torch.matmul(C_steps[t], h))  # B S K 1 D
    joined = torch.stack(y, dim=2).squeeze(-2)  # B S T K D
    return joined.reshape(batch, chunks * chunk, K, D)[:, :length].permute(0, 2, 3, 1)


def states_before(decays: Tensor, ends: Tensor) -> Tensor:
    """The state that each chunk starts from, by doubling: after k rounds a chunk knows the 2^k before it.

    Args:
        decays: what each chunk leaves of the state before it: B S K N D.
        ends: the state that each chunk ends with if it starts from nothing.
    """
    reach = 1
    while reach < ends.shape[1] - 1:
        ends = ends + decays * _later(ends, reach)
        decays = decays * _later(decays, reach)
        reach *= 2
    return _later(ends, 1)


def _later(states: Tensor, chunks: int) -> Tensor:
    """Each chunk gets what an earlier one has, the first ones get zeros."""
    return F.pad(states.narrow(1, 0, states.shape[1] - chunks), (0, 0, 0, 0, 0, 0, chunks, 0))
