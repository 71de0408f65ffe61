# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.vmamba_scan``: the selective scan against the plain loop, and VMamba-Tiny exported.

Writes ``vmamba_scan.{csv,png}``, ``vmamba_network.csv`` and both as ``vmamba_scan.md`` under ``benchmarks/results``.
"""

import argparse
import tempfile
import time
import weakref
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from anomalib_fsad.models.vmamba import VMamba
from anomalib_fsad.models.vmamba.scan import scan_chunked, scan_plain
from anomalib_fsad.models.vmamba.scan_tiled import scan_tiled

RESULTS = Path(__file__).parent / "results"
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


class Stages(NamedTuple):
    """The backbone's outputs in the form that anomalib's export asks for."""

    z1: Tensor
    z2: Tensor
    z3: Tensor
    z4: Tensor


def exportable(size: int) -> Any:
    """VMamba-Tiny by itself as an anomalib model."""
    from anomalib.models.components import AnomalibModule

    from anomalib_fsad.models.components import HostMixin, default_pre_processor

    class Backbone(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.network = VMamba()

        def forward(self, images: Tensor) -> Stages:
            return Stages(*self.network(images))

    class BackboneAlone(HostMixin, AnomalibModule):
        def __init__(self) -> None:
            super().__init__(
                pre_processor=default_pre_processor(size, normalize=True),
                post_processor=False,
                evaluator=False,
                visualizer=False,
            )
            self.model, self.seed, self.max_epochs = Backbone(), None, None

    return BackboneAlone().eval()


@torch.no_grad()
def measure_network(size: int, repeats: int) -> dict[str, Any]:
    """Export VMamba-Tiny through anomalib, compare with eager, and time both."""
    import onnx
    import openvino

    model = exportable(size)
    images = torch.rand(1, 3, size, size)
    with tempfile.TemporaryDirectory() as folder:
        export_s = _seconds(lambda: model.to_onnx(folder))
        path = next(Path(folder).rglob("*.onnx"))
        nodes, megabytes = len(onnx.load(path).graph.node), path.stat().st_size / 1e6
        convert_s = _seconds(lambda: model.to_openvino(folder))
        compile_start = time.perf_counter()
        core = openvino.Core()
        compiled = core.compile_model(
            next(Path(folder).rglob("*.xml")),
            "CPU",
            {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"},
        )
        compile_s = time.perf_counter() - compile_start
    eager = model(images)
    exported = compiled(images.numpy())
    deviation = max((torch.from_numpy(exported[f]) - z).abs().max().item() for f, z in eager._asdict().items())
    return {
        "image": size,
        "ONNX nodes": nodes,
        "ONNX MB": megabytes,
        "ONNX export s": export_s,
        "OpenVINO export s": convert_s,
        "OpenVINO load s": compile_s,
        "largest deviation": deviation,
        "eager images/s": 1 / min(_seconds(lambda: model(images)) for _ in range(repeats)),
        "OpenVINO images/s": 1 / min(_seconds(lambda: compiled(images.numpy())) for _ in range(repeats)),
    }


def write(scans: pd.DataFrame, networks: pd.DataFrame) -> None:
    """Tables, picture, report."""
    from matplotlib import pyplot as plt

    plain = scans[scans.scan == "plain loop"].set_index(["device", "L"]).seconds
    scans["times faster"] = [plain[row.device, row.L] / row.seconds for row in scans.itertuples()]
    scans["peak / (inputs and output)"] = scans["MB peak"] / scans["MB inputs and output"]
    RESULTS.mkdir(exist_ok=True)
    scans.to_csv(RESULTS / "vmamba_scan.csv", index=False)
    networks.to_csv(RESULTS / "vmamba_network.csv", index=False)
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
        "# The selective scan, and VMamba-Tiny as a whole\n\n"
        f"`python -m benchmarks.vmamba_scan`, {torch.get_num_threads()} thread(s), torch {torch.__version__}. "
        "One image; L and channels are those of the network's four stages at 256 pixels.\n\n"
        f"{_table(scans)}\n\n![time and memory](vmamba_scan.png)\n\n"
        "## The network, exported by anomalib\n\n"
        f"{_table(networks)}\n"
    )


def _table(frame: pd.DataFrame) -> str:
    rows = [list(frame.columns), ["---"] * len(frame.columns)]
    rows += [[f"{v:.3g}" if isinstance(v, float) else str(v) for v in row] for row in frame.itertuples(index=False)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3, help="the best of so many is reported")
    repeats = parser.parse_args().repeats
    scans = [measure_scan(name, length, repeats) for length in sorted(STAGES) for name in SCANS]
    scans += [row for length in sorted(STAGES) for row in measure_cuda(length, repeats)]
    networks = [measure_network(size, repeats) for size in (224, 256)]
    write(pd.DataFrame(scans), pd.DataFrame(networks))
    print((RESULTS / "vmamba_scan.md").read_text())


if __name__ == "__main__":
    main()
