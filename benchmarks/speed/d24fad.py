# SPDX-License-Identifier: Apache-2.0
"""D24FAD's speed: inference against the authors' evaluation loop, and the two training modes.

``python -m benchmarks.d24fad_speed [--backbone resnet18] [--size 128] [--repeats 5] [--device cpu]`` writes
``benchmarks/results/d24fad_speed.{md,csv,png}``. All rows come from one run; in each repeat the two sides are timed in
turn, and the medians of the pairwise ratios are what to quote.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from anomalib_fsad.models.components import gaussian_blur, pixel_cosine_distance, summed_map
from anomalib_fsad.models.d24fad import D24FADModel
from anomalib_fsad.models.d24fad.learn_to_weight import weigh_references
from anomalib_fsad.models.d24fad.loss import D24FADLoss
from anomalib_fsad.models.d24fad.support_source import partners_in_batch

RESULTS = Path(__file__).parent / "results"
BATCH = 16


@torch.no_grad()
def as_published(model: D24FADModel, images: Tensor, references: Tensor) -> Tensor:
    """The authors' test loop, plainly: each test batch encodes its K supports again, once for every query."""
    student = model.decode(model.teacher(images)[-1])
    decoded = []
    for reference in references:
        repeated = reference.expand(len(images), -1, -1, -1)
        decoded.append(model.decode(model.teacher(repeated)[-1]))
    values = [torch.stack([maps[scale] for maps in decoded], dim=1) for scale in range(3)]
    blended = [weigh_references(q, k, v)[0] for q, k, v in zip(student, model.l2w.keys(values), values, strict=True)]
    distances = [pixel_cosine_distance(q, r) for q, r in zip(student, blended, strict=True)]
    return gaussian_blur(summed_map(distances, images.shape[-2:]), model.sigma).amax(dim=(1, 2, 3))


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """How long a call takes, to the end of what it started on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def peak_tensor_mb(work: Callable[[], object], device: torch.device) -> float:
    """The most memory that tensors made by a call hold at a time, in MB."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(profile_memory=True) as profile:
        work()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak / 2**20


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int, device: torch.device
) -> dict[str, float]:
    """Time both in turn; medians, and the median of the ratios."""
    ours(), theirs()
    pairs = [(seconds(ours, device), seconds(theirs, device)) for _ in range(repeats)]
    return {
        "ours_ms_per_image": 1000 * statistics.median(a for a, _ in pairs) / BATCH,
        "theirs_ms_per_image": 1000 * statistics.median(b for _, b in pairs) / BATCH,
        "times_faster": statistics.median(b / a for a, b in pairs),
        "ours_peak_mb": peak_tensor_mb(ours, device),
        "theirs_peak_mb": peak_tensor_mb(theirs, device),
    }


def measure(backbone: str, size: int, repeats: int, device: torch.device) -> pd.DataFrame:
    """Inference and training at K = 2, 4, 8."""
    model = D24FADModel(backbone, pre_trained=False).to(device)
    images = torch.rand(BATCH, 3, size, size, device=device)
    loss = D24FADLoss()
    rows = []
    for shots in (2, 4, 8):
        references = torch.rand(shots, 3, size, size, device=device)
        model.eval()
        model.set_support(references)
        torch.testing.assert_close(
            model(images).pred_score, as_published(model, images, references), atol=1e-5, rtol=1e-4
        )

        def infer() -> object:
            return model(images)

        def infer_as_published(references: Tensor = references) -> object:
            return as_published(model, images, references)

        rows.append({"what": "inference", "K": shots, **compare(infer, infer_as_published, repeats, device)})

        model.train()
        support = torch.rand(BATCH, shots, 3, size, size, device=device)
        partners = partners_in_batch([""] * BATCH, shots).to(device)

        def step_in_batch(partners: Tensor = partners) -> None:
            loss(*model.in_batch(images, partners))["loss"].backward()
            model.zero_grad()

        def step_episode(support: Tensor = support) -> None:
            loss(*model.episode(images, support))["loss"].backward()
            model.zero_grad()

        rows.append({"what": "training step", "K": shots, **compare(step_in_batch, step_episode, repeats, device)})
        print(pd.DataFrame(rows[-2:]).to_string(index=False), flush=True)
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, command: str, where: str) -> None:
    """The table as csv, markdown and a plot."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "d24fad_speed.csv", index=False)
    lines = [
        "# D24FAD: speed",
        "",
        f"`{command}` on {where}, torch {torch.__version__}. Batch {BATCH}; medians.",
        "",
        "*Inference*: ours encodes the K references once; theirs is a plain transcription of the authors' test loop,",
        "which encodes them again for every query of every batch (same scores to 1e-5).",
        "*Training step*: ours is `support_mode: in_batch`, theirs `support_mode: episode` (the paper's).",
        "",
        table.round(2).to_markdown(index=False),
        "",
    ]
    (RESULTS / "d24fad_speed.md").write_text("\n".join(lines))
    figure, axis = plt.subplots(figsize=(5, 3.2))
    for what, rows in table.groupby("what"):
        axis.plot(rows["K"], rows["times_faster"], marker="o", label=what)
    axis.plot([2, 4, 8], [2, 4, 8], color="grey", linestyle=":", label="K times")
    axis.set(xlabel="K", ylabel="times faster", xticks=[2, 4, 8])
    axis.legend()
    figure.tight_layout()
    figure.savefig(RESULTS / "d24fad_speed.png", dpi=110)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    table = measure(options.backbone, options.size, options.repeats, device)
    command = (
        f"python -m benchmarks.d24fad_speed --backbone {options.backbone} --size {options.size} "
        f"--repeats {options.repeats} --device {options.device}"
    )
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"a CPU, {torch.get_num_threads()} threads"
    write(table, command, where)


if __name__ == "__main__":
    main()
