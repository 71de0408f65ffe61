# SPDX-License-Identifier: Apache-2.0
"""Simplex noise: ours for a batch at once, against the ``opensimplex`` package an image at a time.

``pip install opensimplex`` (and ``numba``, which it uses if it is there), then

    python -m benchmarks.scrd4ad_noise [--batch 16] [--repeats 7] [--device cpu]

writes ``benchmarks/results/scrd4ad_noise.{md,csv,png}``; with ``--picture docs/scrd4ad_noise.png`` it draws noise and
spoiled phantom images instead.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from anomalib_fsad.data.phantom.generate import make_phantom
from anomalib_fsad.data.phantom.organs import ORGANS
from anomalib_fsad.models.scrd4ad.simplex import fractal_noise
from anomalib_fsad.models.scrd4ad.spoil import noise_patches
from benchmarks.speed.d24fad import seconds

RESULTS = Path(__file__).parent / "results"
SIDES = (31, 64, 128)
"""The largest rectangle of an image of 256 pixels, and larger fields."""


def cost(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call: of the processor's time on a CPU, so that its other users do not count, else by the clock."""
    if device.type != "cpu":
        return seconds(work, device)
    start = time.process_time()
    work()
    return time.process_time() - start


def library_noise(count: int, side: int, octaves: int = 6) -> np.ndarray:
    """The same kind of field by the library, an image and an octave at a time: count x 3 x side x side."""
    import opensimplex

    fields = np.zeros((count, 3, side, side))
    for image in range(count):
        opensimplex.seed(image)
        for octave in range(octaves):
            feature = 32 / 2**octave
            x, z = np.arange(side) / feature, np.arange(3) / feature
            fields[image] += 0.6**octave * opensimplex.noise3array(x, x, z)
    return fields


def likeness(count: int = 8, side: int = 128) -> pd.DataFrame:
    """Whether the two are the same kind of noise: deviation, and correlation over a distance, of one octave."""
    ours = fractal_noise(count, (side, side), octaves=1, generator=torch.Generator().manual_seed(0)).numpy()
    table = pd.DataFrame({"what": ["deviation", "largest", *(f"correlation over {d} pixels" for d in (8, 16, 32))]})
    for name, fields in (("ours", ours), ("opensimplex", library_noise(count, side, octaves=1))):
        plane = fields[:, 0]
        correlations = [np.corrcoef(plane[..., :-d].ravel(), plane[..., d:].ravel())[0, 1] for d in (8, 16, 32)]
        table[name] = [fields.std(), np.abs(fields).max(), *correlations]
    return table


def measure(batch: int, repeats: int, device: torch.device) -> pd.DataFrame:
    """Images per second, timed in turn; an interpreted library is given one image, since it takes seconds for it."""
    compiled = importlib.util.find_spec("numba") is not None
    few = batch if compiled else 1
    rows = []
    for side in SIDES:

        def ours(side: int = side) -> object:
            return fractal_noise(batch, (side, side), device=device)

        def theirs(side: int = side) -> object:
            return library_noise(few, side)

        ours(), theirs()
        torch.set_num_threads(1)  # as the library has; numba, once it runs, sets it anew
        pairs = [(batch / cost(ours, device), few / cost(theirs, device)) for _ in range(repeats)]
        rows.append(
            {
                "baseline": "opensimplex with numba" if compiled else "opensimplex",
                "pixels": f"3 x {side} x {side}",
                "ours_images_per_s": statistics.median(a for a, _ in pairs),
                "baseline_images_per_s": statistics.median(b for _, b in pairs),
                "times_faster": statistics.median(a / b for a, b in pairs),
            }
        )
        print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def write(table: pd.DataFrame, command: str, where: str) -> None:
    """Put this run's rows beside those of the other baseline; csv, markdown and a plot of both."""
    import matplotlib.pyplot as plt

    RESULTS.mkdir(exist_ok=True)
    csv = RESULTS / "scrd4ad_noise.csv"
    if csv.is_file():
        earlier = pd.read_csv(csv)
        table = pd.concat([earlier[~earlier["baseline"].isin(table["baseline"])], table], ignore_index=True)
    table = table.sort_values(["baseline", "baseline_images_per_s"], ascending=[True, False])
    table.to_csv(csv, index=False)
    lines = [
        "# SCRD4AD: simplex noise",
        "",
        f"`{command}` on {where}, torch {torch.__version__}; once with and once without `numba` installed beside",
        "`opensimplex`. Six octaves, three slices an image, a fresh field each (the library is seeded for each image);",
        "medians of processor time.",
        "",
        table.round(1).to_markdown(index=False),
        "",
        "One octave of 32 pixels, eight fields each:",
        "",
        likeness().round(2).to_markdown(index=False),
        "",
    ]
    (RESULTS / "scrd4ad_noise.md").write_text("\n".join(lines))
    figure, axis = plt.subplots(figsize=(5.5, 3.2), constrained_layout=True)
    for baseline, rows in table.groupby("baseline"):
        axis.plot(rows["pixels"], rows["baseline_images_per_s"], marker="o", label=baseline)
    axis.plot(rows["pixels"], rows["ours_images_per_s"], marker="s", color="black", label="ours")
    axis.set_yscale("log")
    axis.set_ylabel("images per second")
    axis.legend(fontsize=8)
    figure.savefig(RESULTS / "scrd4ad_noise.png", dpi=110)


def draw(path: Path, size: int = 256) -> None:
    """Noise, and phantom images before and after: a column an image."""
    import matplotlib.pyplot as plt

    generator = torch.Generator().manual_seed(0)
    organs = sorted(ORGANS)[:5]
    pixels = (make_phantom(organ, 1, size).image for organ in organs)
    images = torch.stack([torch.from_numpy(np.atleast_3d(p) / np.float32(255)).expand(size, size, 3) for p in pixels])
    images = images.permute(0, 3, 1, 2)
    patches = noise_patches(images, generator=generator)
    rows = {
        "noise": (fractal_noise(len(images), (size, size), generator=generator) / 3 + 0.5).clamp(0, 1),
        "image": images,
        "image + 0.2 noise": (images + 0.2 * patches).clamp(0, 1),
        "close up": torch.stack([_close_up(i, p) for i, p in zip(images + 0.2 * patches, patches, strict=True)]),
    }
    figure, axes = plt.subplots(len(rows), len(images), figsize=(8, 6.6), constrained_layout=True)
    for line, (name, batch) in zip(axes, rows.items(), strict=True):
        line[0].set_ylabel(name)
        for axis, image in zip(line, batch, strict=True):
            axis.imshow(image.permute(1, 2, 0).numpy())
            axis.set(xticks=[], yticks=[])
    figure.savefig(path, dpi=75)
    Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)


def _close_up(image: torch.Tensor, patch: torch.Tensor, side: int = 64) -> torch.Tensor:
    """The part of an image around its patch: 3 x side x side."""
    top, left = (int(patch.abs().sum((0, other)).nonzero().float().mean() - side / 2) for other in (2, 1))
    top, left = (max(0, min(start, image.shape[-1] - side)) for start in (top, left))
    return image[:, top : top + side, left : left + side].clamp(0, 1)


def main() -> None:
    """Measure, or draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path, help="draw this file, and measure nothing")
    options = parser.parse_args()
    if options.picture:
        draw(options.picture)
        return
    device = torch.device(options.device)
    table = measure(options.batch, options.repeats, device)
    command = (
        f"python -m benchmarks.scrd4ad_noise --batch {options.batch} --repeats {options.repeats} --device {device}"
    )
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"a CPU, {torch.get_num_threads()} threads"
    write(table, command, where)


if __name__ == "__main__":
    main()
