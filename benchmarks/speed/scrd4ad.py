# SPDX-License-Identifier: Apache-2.0
"""SCRD4AD's training step against a plain transcription of the authors': the spoiled images through everything, or not.

    python -m benchmarks.scrd4ad_step [--backbone resnet18] [--size 128] [--batch 16] [--repeats 5] [--device cpu]

writes ``benchmarks/results/scrd4ad_step.{md,csv,png}``. The two are timed in turn within one run; the median of the
pairwise ratios is what to quote. Ours makes its noise within the step; theirs is handed the spoiled images.
"""

import argparse
import copy
import statistics
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor

from anomalib_fsad import SCRD4AD
from benchmarks.speed.d24fad import peak_tensor_mb
from benchmarks.speed.noise import cost

RESULTS = Path(__file__).parent / "results"


def step_as_published(model: SCRD4AD, optimizer: torch.optim.Optimizer, images: Tensor, noisy: Tensor) -> Tensor:
    """The authors' step, plainly: both images pass teacher, bottleneck, decoder and head; w is inside the cosine."""
    network = model.model
    outputs = []
    for batch in (images, noisy):
        features = network.teacher(batch)
        code = network.bottleneck(features)
        weights = network.log_scale_weights(code).exp()  # B 3
        outputs.append((features, network.decoder(code), weights))
    (clean, student, weights), (spoiled, _, _) = outputs
    sums = []
    for features in (clean, spoiled):
        total = torch.zeros((), device=images.device)
        for scale, (f, s) in enumerate(zip(features, student, strict=True)):
            w = weights[:, scale, None]
            total = total + (1 - F.cosine_similarity(w * f.flatten(1), w * s.flatten(1))).mean()
        sums.append(total)
    loss = sums[0] / sums[1]
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def step(model: SCRD4AD, optimizer: torch.optim.Optimizer, images: Tensor, noisy: Tensor | None = None) -> Tensor:
    """Ours; the noise is made here unless it is given."""
    clean, spoiled, student, log_weights = model.model(images, model.spoil(images) if noisy is None else noisy)
    loss = model.loss(clean, spoiled, student, log_weights)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def measure(backbone: str, size: int, batch: int, repeats: int, device: torch.device) -> pd.DataFrame:
    """One row for each form of weighting."""
    images = torch.rand(batch, 3, size, size, device=device)
    rows = []
    for weighting in ("outside", "none"):
        ours = SCRD4AD(backbone, pre_trained=False, scale_weighting=weighting, image_size=size).to(device).train()
        theirs = SCRD4AD(backbone, pre_trained=False, scale_weighting="outside", image_size=size).to(device).train()
        theirs.model.load_state_dict(ours.model.state_dict())
        if weighting == "none":  # the same loss, whatever the weights: they cancel within the cosine
            noisy = ours.spoil(images)
            losses = [
                run(copy.deepcopy(model), torch.optim.SGD(model.parameters(), 0.0), images, noisy)
                for run, model in ((step, ours), (step_as_published, theirs))
            ]
            torch.testing.assert_close(*losses)
        noisy = theirs.spoil(images)
        optimizers = ours.configure_optimizers(), theirs.configure_optimizers()

        def run_ours(model: SCRD4AD = ours, optimizer: torch.optim.Optimizer = optimizers[0]) -> object:
            return step(model, optimizer, images)

        def run_theirs(
            model: SCRD4AD = theirs, optimizer: torch.optim.Optimizer = optimizers[1], noisy: Tensor = noisy
        ) -> object:
            return step_as_published(model, optimizer, images, noisy)

        rows.append({"scale_weighting": weighting, **compare(run_ours, run_theirs, repeats, device)})
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def compare(
    ours: Callable[[], object], theirs: Callable[[], object], repeats: int, device: torch.device
) -> dict[str, float]:
    """Time both in turn; medians, the median of the ratios, and peak memory."""
    ours(), theirs()
    pairs = [(cost(ours, device), cost(theirs, device)) for _ in range(repeats)]
    return {
        "ours_s": statistics.median(a for a, _ in pairs),
        "published_s": statistics.median(b for _, b in pairs),
        "times_faster": statistics.median(b / a for a, b in pairs),
        "ours_peak_mb": peak_tensor_mb(ours, device),
        "published_peak_mb": peak_tensor_mb(theirs, device),
    }


def write(table: pd.DataFrame, command: str, where: str) -> None:
    """The table as csv, markdown and a plot."""
    import matplotlib.pyplot as plt

    RESULTS.mkdir(exist_ok=True)
    table.to_csv(RESULTS / "scrd4ad_step.csv", index=False)
    lines = [
        "# SCRD4AD: training step",
        "",
        f"`{command}` on {where}, torch {torch.__version__}; medians of a whole step (forward,",
        "backward, Adam), in processor time on a CPU.",
        "",
        "*Published* is a plain transcription of the authors' step: clean and spoiled images through teacher,",
        "bottleneck, decoder and head; it is handed the spoiled images. Ours passes them through the teacher alone,",
        "and makes the noise within the step.",
        "",
        table.round(2).to_markdown(index=False),
        "",
    ]
    (RESULTS / "scrd4ad_step.md").write_text("\n".join(lines))
    figure, axis = plt.subplots(figsize=(4.5, 3), constrained_layout=True)
    table.plot.bar(x="scale_weighting", y=["ours_s", "published_s"], ax=axis, rot=0, ylabel="seconds a step")
    figure.savefig(RESULTS / "scrd4ad_step.png", dpi=110)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="resnet18")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    table = measure(options.backbone, options.size, options.batch, options.repeats, device)
    command = "python -m benchmarks.scrd4ad_step " + " ".join(f"--{k} {v}" for k, v in vars(options).items())
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"a CPU, {torch.get_num_threads()} threads"
    write(table, command, where)


if __name__ == "__main__":
    main()
