# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.speed vmamba``: the selective scan against the plain loop, and VMamba-Tiny exported.

Writes ``vmamba_scan.{csv,png}``, ``vmamba_network.csv`` and both as ``vmamba_scan.md`` under ``benchmarks/results``.
"""

import argparse
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anomalib_fsad.models.vmamba.scan import scan_chunked, scan_plain
from anomalib_fsad.models.vmamba.scan_tiled import scan_tiled

RESULTS = Path(__file__).parents[1] / "results" / "speed"
STAGES = {4096: 192, 1024: 384, 256: 768, 64: 1536}
"""Steps and channels of VMamba-Tiny's four stages at 256 pixels."""
K, N = 4, 16
SCANS = {"plain loop": scan_plain, "chunked": scan_chunked, "tiled": scan_tiled}


def scan_inputs(length: int, device: str) -> list[Tensor]:
    """(u, delta, A, B, C) of the stage with ``length`` steps, one image, steps contiguous as the reference has them."""
    torch.manual_seed(0)
    channels = STAGES[length]
    u, delta = torch.randn(2, 1, K, channels, length, device=device)
    B, C = torch.randn(2, 1, K, N, length, device=device)  # noqa: N806 - the paper's symbols
    return [u, torch.nn.functional.softplus(delta - 3), -torch.rand(K, channels, N, device=device) * 16, B, C]


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of the tensors that are alive, and their peak."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and register what it made."""
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.add(tensor)
        return result

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage until it is freed."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key not in self.known:
            self.known.add(key)
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.remove, key, size)

    def remove(self, key: int, size: int) -> None:
        """Forget a freed storage."""
        self.known.discard(key)
        self.now -= size


@torch.no_grad()
def measure_scan(name: str, length: int, repeats: int) -> dict[str, Any]:
    """Best time of some, and the peak of what tensors hold, inputs and output among them."""
    inputs = scan_inputs(length, "cpu")
    scan = SCANS[name]
    with LiveBytes() as live:
        for tensor in inputs:
            live.add(tensor)
        y = scan(*inputs)
    return {
        "device": "cpu",
        "scan": name,
        "L": length,
        "channels": K * STAGES[length],
        "seconds": min(_seconds(lambda: scan(*inputs)) for _ in range(repeats)),
        "MB inputs and output": sum(tensor.numel() * tensor.element_size() for tensor in [*inputs, y]) / 1e6,
        "MB peak": live.peak / 1e6,
    }


def measure_cuda(length: int, repeats: int) -> list[dict[str, Any]]:
    """The same on a GPU, for every kernel that is installed; empty without one."""
    if not torch.cuda.is_available():
        return []
    from importlib.util import find_spec

    from anomalib_fsad.models.vmamba.scan_gpu import scan_mamba_ssm

    scans: dict[str, Any] = {"plain loop": scan_plain, "chunked": scan_chunked}
    if find_spec("triton"):
        from anomalib_fsad.models.vmamba.scan_triton import scan_triton

        scans["triton"] = scan_triton
    if find_spec("mamba_ssm"):
        scans["mamba_ssm"] = scan_mamba_ssm
    inputs = scan_inputs(length, "cuda")
    size = sum(tensor.numel() * tensor.element_size() for tensor in [*inputs, inputs[0]])
    # What the device can do at best: read everything once, write the result once.
    source, target = torch.empty(2, size // 8, device="cuda")
    scans["copy of as many bytes"] = lambda *_: target.copy_(source)
    rows = []
    for name, scan in scans.items():
        scan(*inputs)
        torch.cuda.reset_peak_memory_stats()
        seconds = min(_seconds(lambda scan=scan: (scan(*inputs), torch.cuda.synchronize())) for _ in range(repeats))
        rows.append(
            {
                "device": torch.cuda.get_device_name(),
                "scan": name,
                "L": length,
                "channels": K * STAGES[length],
                "seconds": seconds,
                "MB inputs and output": size / 1e6,
                "MB peak": torch.cuda.max_memory_allocated() / 1e6,
            }
        )
    return rows


def _seconds(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def write(scans: pd.DataFrame) -> None:
    """Tables, picture, report."""
    from matplotlib import pyplot as plt

    plain = scans[scans.scan == "plain loop"].set_index(["device", "L"]).seconds
    scans["times faster"] = [plain[row.device, row.L] / row.seconds for row in scans.itertuples()]
    scans["peak / (inputs and output)"] = scans["MB peak"] / scans["MB inputs and output"]
    RESULTS.mkdir(exist_ok=True)
    scans.to_csv(RESULTS / "vmamba_scan.csv", index=False)
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for column, axis in zip(("seconds", "peak / (inputs and output)"), axes, strict=True):
        for (device, name), rows in scans.groupby(["device", "scan"]):
            axis.plot(rows.L, rows[column], marker="o", label=f"{name} ({device})")
        axis.set(xscale="log", xlabel="L", ylabel=column, xticks=scans.L.unique())
        axis.set_xticklabels(scans.L.unique())
        axis.minorticks_off()
    axes[0].set_yscale("log")
    axes[1].set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    figure.savefig(RESULTS / "vmamba_scan.png", dpi=120)
    (RESULTS / "vmamba_scan.md").write_text(
        "# The selective scan\n\n"
        f"`python -m benchmarks.speed vmamba`, {torch.get_num_threads()} thread(s), torch {torch.__version__}. "
        "One image; L and channels are those of the network's four stages at 256 pixels.\n\n"
        f"{_table(scans)}\n\n![time and memory](vmamba_scan.png)\n"
    )


def _table(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * len(frame.columns)]
    rows += [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed vmamba", description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is reported")
    repeats = parser.parse_args(arguments).repeats
    scans = [measure_scan(name, length, repeats) for length in sorted(STAGES) for name in SCANS]
    scans += [row for length in sorted(STAGES) for row in measure_cuda(length, repeats)]
    write(pd.DataFrame(scans))
    print((RESULTS / "vmamba_scan.md").read_text())
