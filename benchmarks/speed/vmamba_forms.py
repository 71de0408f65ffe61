# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.speed vmamba_forms``: VMamba-Tiny in each form it takes on a CPU, in turns, and its limit.

Every form runs in a process of its own, which computes when it is told to. ``--earlier TREE`` adds the eager form of
another checkout of this project (``git worktree add TREE REVISION``), and makes it what the others are compared with.
Writes ``vmamba_forms.{csv,md}`` under ``benchmarks/results/speed``.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

RESULTS = Path(__file__).parents[1] / "results" / "speed"
LIMIT = "matrix products alone"
STATE_UPDATES = 276_824_064
"""Of an image of 256 pixels: the sum over all blocks of 4 directions x L x D x 16."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--earlier", type=Path, metavar="TREE", help="another checkout, to compare with")
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 256], metavar="PIXELS")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.worker:
        work(options.worker, options.sizes[0], options.batch, options.threads, options.folder)
    else:
        write(pd.concat([measure(size, options) for size in options.sizes]), options)


def measure(size: int, options: argparse.Namespace) -> pd.DataFrame:
    """A row for each form: seconds, ratios, and how far it is from eager."""
    here = Path(__file__).parents[2]
    trees = {"earlier": options.earlier.resolve()} if options.earlier else {}
    trees |= dict.fromkeys(("eager", "native", "OpenVINO", "ONNX Runtime", LIMIT), here)
    with tempfile.TemporaryDirectory() as folder:
        workers = {form: start(form, tree, size, options, folder) for form, tree in trees.items()}
        facts = {form: json.loads(answer(worker)) for form, worker in workers.items()}
        turns = pd.DataFrame(
            [{form: float(ask(worker)) for form, worker in workers.items()} for _ in range(options.rounds)]
        )
        for worker in workers.values():
            worker.stdin.close()  # type: ignore[union-attr]
            worker.wait()
    ratios = turns.rdiv(turns.iloc[:, 0], axis=0).median()
    return pd.DataFrame(
        {
            "pixels": size,
            "form": list(turns.columns),
            "images/s": (options.batch / turns.median()).to_numpy(),
            f"times faster than {turns.columns[0]}": ratios.to_numpy(),
        }
    ).join(pd.DataFrame(facts.values()))


def start(form: str, tree: Path, size: int, options: argparse.Namespace, folder: str) -> subprocess.Popen[str]:
    """The process of one form; it answers when it is ready."""
    worker = "eager" if form == "earlier" else form
    command = [sys.executable, __file__, "--worker", worker, "--sizes", str(size), "--folder", folder]
    command += ["--batch", str(options.batch), "--threads", str(options.threads)]
    environment = {**os.environ, "PYTHONPATH": str(tree), "ANOMALIB_FSAD_NATIVE_SCAN": str(int(form == "native"))}
    return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def ask(worker: subprocess.Popen[str]) -> str:
    """One turn."""
    worker.stdin.write("go\n")  # type: ignore[union-attr]
    worker.stdin.flush()  # type: ignore[union-attr]
    return answer(worker)


def answer(worker: subprocess.Popen[str]) -> str:
    """The next line that is meant for us; libraries print as well."""
    for line in worker.stdout:  # type: ignore[union-attr]
        if line.startswith("> "):
            return line[2:]
    msg = f"A form's process ended with {worker.wait()}."
    raise RuntimeError(msg)


@torch.no_grad()
def work(form: str, size: int, batch: int, threads: int, folder: Path) -> None:
    """What a form's process does."""
    from anomalib_fsad.models.vmamba import VMamba

    torch.manual_seed(0)
    network = VMamba().eval()
    images = torch.rand(batch, 3, size, size)
    facts: dict[str, Any] = {}
    compute: Callable[[], Any]
    if form == LIMIT:
        compute = products(network, size, batch)
        compute()
    else:
        run = {"OpenVINO": openvino_form, "ONNX Runtime": onnxruntime_form}.get(form)
        if run:
            path = folder / f"{form}.onnx"
            facts = exported(network, images, path)
            began = time.perf_counter()
            exported_run = run(path, threads)
            facts["load s"] = time.perf_counter() - began
            compute = lambda: exported_run(images.numpy())  # noqa: E731
            expected = network(images)
        else:
            compute = lambda: network(images)  # noqa: E731
            expected = plain(network, images) if form == "native" else compute()
        facts["deviation"] = max(
            float(np.abs(np.asarray(z) - e.numpy()).max()) for z, e in zip(compute(), expected, strict=True)
        )
    print(">", json.dumps(facts), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        compute()
        print(">", time.perf_counter() - began, flush=True)


def plain(network: torch.nn.Module, images: torch.Tensor) -> Any:
    """What the network computes without the fused kernel, which a compiler's absence leaves."""
    from anomalib_fsad.models.vmamba.scan_native import ASKED, native_scan

    if native_scan() is None:
        msg = "The fused kernel was asked for and is not there."
        raise RuntimeError(msg)
    os.environ[ASKED] = "0"
    native_scan.cache_clear()
    outputs = network(images)
    os.environ[ASKED] = "1"
    native_scan.cache_clear()
    return outputs


def exported(network: Any, images: torch.Tensor, path: Path) -> dict[str, Any]:
    """Export for any batch; both runtimes read the same file."""
    import onnx

    began = time.perf_counter()
    torch.onnx.export(
        network,
        (torch.cat([images[:1]] * 2),),
        path,
        dynamo=True,
        opset_version=18,
        custom_translation_table=network.onnx_translations(),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
    )
    seconds = time.perf_counter() - began
    return {"nodes": len(onnx.load(path).graph.node), "MB": path.stat().st_size / 1e6, "export s": seconds}


def openvino_form(path: Path, threads: int) -> Callable[[np.ndarray], Any]:
    """OpenVINO in float32."""
    import openvino

    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", options)
    return lambda images: list(compiled(images).values())


def onnxruntime_form(path: Path, threads: int) -> Callable[[np.ndarray], Any]:
    """ONNX Runtime as it comes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})


def products(network: torch.nn.Module, size: int, batch: int) -> Callable[[], Any]:
    """The network's matrix products by themselves: no form can take less time."""
    from anomalib_fsad.models.vmamba.ss2d import SS2D

    pairs = []
    side = size // 4
    for stage in network.layers:  # type: ignore[union-attr]
        for layer in (module for module in stage.modules() if isinstance(module, SS2D)):
            rows = torch.rand(batch * side * side, layer.in_proj.in_features)
            inner = torch.rand(batch * side * side, layer.out_proj.in_features)
            dt = torch.rand(4, batch * side * side, layer.rank)
            pairs += [(rows, layer.in_proj.weight.t()), (inner, layer.out_proj.weight.t())]
            pairs += [(inner, layer.x_proj_weight.flatten(0, 1).t()), (dt, layer.dt_projs_weight.transpose(1, 2))]
        side = (side + 1) // 2
        for linear in (module for module in stage.downsample.modules() if isinstance(module, torch.nn.Linear)):
            pairs.append((torch.rand(batch * side * side, linear.in_features), linear.weight.t()))
    return lambda: [torch.matmul(left, right) for left, right in pairs]


def write(table: pd.DataFrame, options: argparse.Namespace) -> None:
    """Numbers and a page."""
    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "vmamba_forms.csv", index=False)
    rows = [list(table.columns), ["---"] * len(table.columns)]
    rows += [[_shown(v) for v in row] for row in table.values]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    page = (
        "# VMamba-Tiny in its forms\n\n"
        f"`python -m benchmarks.speed vmamba_forms{' --earlier TREE' if options.earlier else ''} "
        f"--batch {options.batch} --rounds {options.rounds} --threads {options.threads}`, torch {torch.__version__}, "
        f"{torch.backends.cpu.get_cpu_capability()}. Medians of rounds taken in turns, and of their ratios; deviation: "
        "the largest of an output from eager.\n\n"
        f"{lines}\n\nAn image of 256 pixels takes {STATE_UPDATES / 1e9:.2f} billion state updates.\n"
    )
    (RESULTS / "vmamba_forms.md").write_text(page)
    print(page)


def _shown(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return "" if pd.isna(value) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
