# SPDX-License-Identifier: Apache-2.0
# ruff: noqa: PLR2004 - a drawing is made of numbers
"""The organs: each a function from chance to one healthy patient."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_fsad.data.phantom.canvas import (
    Canvas,
    Field,
    Rng,
    box_blur,
    ellipse,
    fractal_noise,
    inside,
    mix,
    pixel_grid,
    pose,
    smooth_noise,
    stroke,
)


class Organ(NamedTuple):
    """A healthy image and what a lesion needs to know of it.

    Attributes:
        image: n x n x C in [0, 1]; C is 1 (grey) or 3.
        bare: the same without its fine structures (ribs, vessels, folds, nuclei): what shows where one is missing.
        tissue: n x n, 1 where lesions may sit.
    """

    image: NDArray[np.floating]
    bare: NDArray[np.floating]
    tissue: Field


def head_ct(rng: Rng, n: int) -> Organ:
    """Axial head CT in a brain window: skull, cortex with sulci, ventricles, falx."""
    c = pose(rng, n)
    wide, tall = 0.64 + rng.normal(0, 0.015), 0.80 + rng.normal(0, 0.015)
    skull = ellipse(c.u, c.v, 0, 0, wide, tall)
    bone, edge = 0.085 + rng.normal(0, 0.006), 4 / n
    scalp = inside(skull - 0.05, edge) * (0.20 + 0.02 * smooth_noise(rng, n, 6))
    brain = inside(skull + bone, edge)
    cortex = np.clip(1 + (skull + bone) / 0.2, 0, 1)  # 1 at the skull, 0 deep inside
    texture = 0.012 * fractal_noise(rng, n, 12)
    flat = 0.44 + 0.05 * cortex + texture
    folds = np.abs(smooth_noise(rng, n, 11) + 0.5 * smooth_noise(rng, n, 18))
    sulci = np.clip(1 - folds / 0.28, 0, 1) * cortex
    full = flat - 0.17 * sulci
    falx = inside(np.abs(c.u + 0.01 * np.sin(5 * c.v)) - 0.008, edge) * np.clip(np.abs(c.v) * 3 - 0.7, 0, 1)
    full = full + 0.13 * falx
    gap, horn = 0.10 + rng.normal(0, 0.01), 0.20 + rng.normal(0, 0.015)
    for side in (-1, 1):
        front = ellipse(c.u, c.v, side * gap, -0.20, 0.055, horn, side * 0.35)
        back = ellipse(c.u, c.v, side * (gap + 0.08), 0.20, 0.05, horn * 0.85, side * -0.45)
        full = mix(full, 0.20, inside(np.minimum(front, back), 2 * edge))
    ring = inside(np.abs(skull + bone / 2) - bone / 2, edge)
    bone_grey = 0.93 + 0.02 * smooth_noise(rng, n, 8)
    bare, full = (mix(mix(scalp, x, brain), bone_grey, ring)[..., None] for x in (flat, full))
    return Organ(full, bare, inside(skull + bone + 0.07, edge))


def chest_xray(rng: Rng, n: int) -> Organ:
    """Frontal chest film: lungs, ribs, clavicles, heart, spine, diaphragm."""
    c = pose(rng, n, turn=0.04, zoom=0.05, shift=0.04, warp=0.02)
    edge = 7 / n
    u, v = c.u, c.v
    side = np.abs(u)
    body = inside(np.maximum(side - 0.93 + 0.16 * np.clip(-v - 0.4, 0, 1), -v - 0.97), 3 * edge)
    ground = 0.58 + 0.05 * smooth_noise(rng, n, 3) + 0.10 * np.clip(0.25 - side, 0, 1)
    ground = ground + 0.10 * np.clip(v - 0.35, 0, 1) - 0.16 * np.clip(side - 0.72, 0, 1)
    dome = 0.54 + rng.normal(0, 0.02) + 0.9 * (side - 0.42) ** 2 + 0.04 * (u > 0)
    lung = np.maximum(ellipse(side, v, 0.44, -0.02, 0.30 + rng.normal(0, 0.01), 0.76, 0.10), v - dome)
    heart = ellipse(u, v, 0.13, 0.34, 0.27 + rng.normal(0, 0.015), 0.30, 0.5)
    hilum = np.exp(-((side - 0.20) ** 2 + (v - 0.02) ** 2) / 0.05)
    air = inside(lung, 2 * edge) * (1 - inside(heart, 2 * edge))
    flat = mix(ground, 0.22 + 0.06 * smooth_noise(rng, n, 4) * 0.5 + 0.12 * hilum, air)
    branches = np.clip(1 - np.abs(smooth_noise(rng, n, 12)) / 0.25, 0, 1) * (0.25 + hilum)
    full = flat + 0.10 * branches * air
    pitch = 0.175 + rng.normal(0, 0.006)
    slope = 0.30 + rng.normal(0, 0.03)
    offset = rng.uniform(0, pitch)
    behind = np.abs((v + slope * side - 0.55 * side**2 + offset) % pitch - pitch / 2) - 0.030
    front = np.abs((v - 0.75 * (side - 0.1) + offset) % (1.15 * pitch) - pitch / 2) - 0.026
    cage = inside(np.maximum(side - 0.78, -v - 0.80), edge) * np.clip((side - 0.12) / 0.1, 0, 1) * inside(v - 0.72, 0.1)
    full = full + (0.13 * inside(behind, edge) + 0.06 * inside(front, edge)) * cage
    clavicle = np.abs(v + 0.74 + 0.16 * side - 0.10 * np.sin(4 * side)) - 0.030
    extent = np.clip((side - 0.08) / 0.1, 0, 1) * np.clip((0.72 - side) / 0.1, 0, 1)
    full = full + 0.14 * inside(clavicle, edge) * extent
    vertebrae = 0.5 + 0.5 * np.cos(2 * np.pi * (v + offset) / 0.15)
    full = full + (0.05 + 0.05 * vertebrae) * inside(side - 0.085, edge)
    bare, full = ((x * body)[..., None] for x in (flat, full))
    return Organ(full, bare, inside(np.maximum(np.maximum(lung + 0.05, -heart), -v - 0.7), edge))


def fundus(rng: Rng, n: int) -> Organ:
    """Colour fundus photograph: disc, macula, vessel arcades."""
    c = pose(rng, n, turn=0.08, zoom=0.03, shift=0.02, warp=0.015)
    eye = 1 if rng.random() < 0.5 else -1
    x = np.float32(eye) * c.u
    edge = 3 / n
    field = np.sqrt(c.u**2 + c.v**2) - 0.92
    glow = 1 - 0.35 * (c.u**2 + c.v**2) + 0.05 * smooth_noise(rng, n, 4)
    choroid = 0.03 * fractal_noise(rng, n, 10)
    disc_u, disc_v = 0.46 + rng.normal(0, 0.03), rng.normal(0, 0.03)
    macula = np.exp(-((x + 0.12) ** 2 + (c.v - 0.03) ** 2) / 0.035)
    shade = (glow + choroid) * (1 - 0.30 * macula)
    colour = np.array([0.80 + rng.normal(0, 0.02), 0.36 + rng.normal(0, 0.015), 0.15 + rng.normal(0, 0.01)])
    bare = shade[..., None] * colour.astype(np.float32)
    disc = inside(ellipse(x, c.v, disc_u, disc_v, 0.135, 0.155), 0.05)
    cup = inside(ellipse(x, c.v, disc_u + 0.01, disc_v, 0.06, 0.07), 0.05)
    disc_colour = np.array([0.97, 0.74, 0.42], dtype=np.float32) + 0.10 * cup[..., None]
    full = bare + (disc_colour - bare) * (0.9 * disc)[..., None]
    points, radii = _vessels(rng, n, disc_u, disc_v)
    points = np.stack([(eye * points[:, 0] + 1) / 2 * n, (points[:, 1] + 1) / 2 * n], axis=1) - 0.5
    vessels = stroke(n, points, radii, edge=1.2)
    full = full * (1 - vessels[..., None] * np.array([0.38, 0.62, 0.55], dtype=np.float32))
    shown = inside(field, edge)[..., None]
    return Organ((full * shown).astype(np.float32), (bare * shown).astype(np.float32), inside(field + 0.2, edge))


def _vessels(rng: Rng, n: int, disc_u: float, disc_v: float) -> tuple[Field, Field]:
    """Points (P x 2, anatomical) and radii (P, pixels) of arcades leaving the disc, branching twice."""
    angle = np.array([-2.15, 2.15, -0.8, 0.8, -1.75, 1.75, -2.85, 2.85]) + rng.normal(0, 0.13, 8)
    bend = np.array([0.9, -0.9, -0.5, 0.5, 0.8, -0.8, 0.2, -0.2])
    radius = np.array([0.021] * 4 + [0.013] * 4)
    start = np.tile([disc_u, disc_v], (8, 1))
    points, radii = [], []
    for longest, branches in ((1.25, 3), (0.6, 1), (0.6, 0)):
        m, steps = len(angle), int(longest * n / 1.7)
        length = np.full(m, longest) if branches == 3 else rng.uniform(0.3, 0.6, m)
        s = length[:, None] * np.arange(steps) / steps  # m x steps: the way along each vessel
        step = length[:, None] / steps
        wander = 0.03 * np.cumsum(rng.standard_normal((m, steps)), axis=1) * np.sqrt(26 * step)
        turned = np.sign(bend)[:, None] * np.minimum(1.5 * np.abs(bend)[:, None] * s, 1.25)
        heading = angle[:, None] - turned + wander
        ways = [np.cumsum(f(heading) * step, axis=1) for f in (np.cos, np.sin)]
        path = start[:, None] + np.stack(ways, axis=2)  # m x steps x 2
        points.append(path.reshape(-1, 2))
        radii.append((radius[:, None] * (1 - 0.6 * s / length[:, None])).ravel() * n / 2)
        parent = np.repeat(np.arange(m), branches)
        at = (rng.uniform(0.15, 0.85, len(parent)) * steps).astype(int)
        turn = rng.choice((-1, 1), len(parent)) * rng.uniform(0.4, 0.9, len(parent))
        start, angle = path[parent, at], heading[parent, at] + turn
        bend, radius = -0.5 * turn, 0.55 * radius[parent]
    return np.concatenate(points), np.concatenate(radii)


def brain_mri(rng: Rng, n: int) -> Organ:
    """Axial T1-weighted brain MRI: scalp fat, cerebrospinal rim, grey and white matter, ventricles."""
    c = pose(rng, n)
    edge = 4 / n
    head = ellipse(c.u, c.v, 0, 0.02, 0.70, 0.86)
    scalp = inside(np.abs(head + 0.035) - 0.030, edge) * (0.90 + 0.05 * smooth_noise(rng, n, 8))
    brain = head + 0.16 + 0.03 * np.exp(-((c.u / 0.06) ** 2)) * np.abs(c.v)
    depth = -brain + 0.028 * smooth_noise(rng, n, 12)
    rim = np.clip(1 - (-brain) / 0.30, 0, 1)
    folds = np.abs(smooth_noise(rng, n, 9) + 0.5 * smooth_noise(rng, n, 15))
    grey_matter = 0.46 + 0.012 * fractal_noise(rng, n, 16)
    white_matter = 0.70 + 0.014 * fractal_noise(rng, n, 12)
    whiteness = np.clip((depth - 0.09) / 0.05, 0, 1)
    ribbon = np.clip(1.2 - folds / 0.35, 0, 1) * rim
    flat = mix(grey_matter, white_matter, whiteness * 0.9)
    full = mix(flat, grey_matter, np.clip(1.6 * ribbon, 0, 1))
    full = mix(full, 0.16, np.clip(ribbon * 1.5 - 0.75, 0, 1) * 0.8)
    for side in (-1, 1):
        nucleus = ellipse(c.u, c.v, side * 0.20, -0.02, 0.075, 0.15, side * -0.3)
        full = mix(full, 0.50, inside(nucleus, 3 * edge) * 0.9)
        horn = ellipse(c.u, c.v, side * 0.085, -0.13, 0.042, 0.18 + rng.normal(0, 0.012), side * 0.25)
        tail = ellipse(c.u, c.v, side * 0.13, 0.22, 0.042, 0.15 + rng.normal(0, 0.012), side * -0.45)
        full = mix(full, 0.12, inside(np.minimum(horn, tail), 1.5 * edge))
    fissure = inside(np.abs(c.u + 0.012 * smooth_noise(rng, n, 5)) - 0.010, edge)
    full = mix(full, 0.15, fissure * np.clip(np.abs(c.v) * 4 - 1.6, 0, 1))
    bias = 1 + 0.05 * smooth_noise(rng, n, 2)
    mask = inside(brain, edge)
    bare, full = (((scalp + x * mask) * bias)[..., None] for x in (flat, full))
    return Organ(full, bare, inside(brain + 0.10, edge))


def histology(rng: Rng, n: int) -> Organ:
    """Stained tissue section: pink stroma, fibres, nuclei at about even distances."""
    fibre_angle = rng.uniform(0, np.pi)
    c = pose(rng, n, turn=0, zoom=0.02, shift=0.3, warp=0.12)
    along = c.u * np.cos(fibre_angle) + c.v * np.sin(fibre_angle)
    fibres = np.sin(along * 26 + 2.0 * smooth_noise(rng, n, 5))
    stroma = 0.5 + 0.22 * fractal_noise(rng, n, 6) + 0.12 * fibres
    pale, deep = np.array([0.95, 0.82, 0.89]), np.array([0.83, 0.52, 0.69])
    pale = pale + rng.normal(0, 0.012, 3)
    deep = deep + rng.normal(0, 0.015, 3)
    bare = (pale + (deep - pale) * np.clip(stroma, 0, 1)[..., None]).astype(np.float32)
    cells = 10
    spots = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1).reshape(-1, 2) + 0.5
    spots = spots + rng.uniform(-0.36, 0.36, spots.shape)
    spots = spots[rng.random(len(spots)) < 0.88] * (n / cells)
    radius = n * 0.021 * np.exp(rng.normal(0, 0.15, len(spots)))
    lean = rng.normal(fibre_angle + np.pi / 2, 0.5, len(spots))
    long = rng.uniform(0.2, 0.9, len(spots)) * radius
    offsets = np.stack([np.cos(lean), np.sin(lean)], axis=1) * long[:, None]
    body = stroke(n, np.concatenate([spots - offsets, spots, spots + offsets]), np.tile(radius, 3), edge=1.6)
    core = stroke(n, spots + offsets * 0.4, radius * 0.35, edge=1.2)
    ink = np.array([0.40, 0.27, 0.58]) + rng.normal(0, 0.015, 3)
    ink = (ink * (1 + 0.10 * fractal_noise(rng, n, 24))[..., None]).astype(np.float32)
    full = bare + (ink - bare) * (0.88 * body)[..., None]
    full = full * (1 - 0.75 * core[..., None])
    x, y = pixel_grid(n)
    return Organ(full.astype(np.float32), bare, inside(np.maximum(np.abs(x), np.abs(y)) - 0.9, 0.1))


def retina_oct(rng: Rng, n: int) -> Organ:
    """Optical coherence tomography of the retina: layers, foveal pit, speckle."""
    c = pose(rng, n, turn=0.06, zoom=0.05, shift=0.06, warp=0.012)
    bow = rng.normal(0.10, 0.04) * c.u**2
    pit = np.exp(-((c.u - rng.normal(0, 0.05)) ** 2) / 0.03)
    thick = 0.62 * np.exp(rng.normal(0, 0.04))
    top = -0.38 + bow + 0.22 * pit + 0.01 * smooth_noise(rng, n, 6)[:1]
    bottom = -0.38 + thick + bow - 0.02 * pit
    t = (c.v - top) / (bottom - top)  # 0 at the inner limiting membrane, 1 below the pigment epithelium
    edges = np.array([0.0, 0.13, 0.34, 0.47, 0.57, 0.72, 0.79, 0.84, 0.93, 1.0])
    grey = np.array([0.78, 0.40, 0.62, 0.26, 0.50, 0.20, 0.66, 0.24, 0.90, 0.92])
    band = np.clip(np.searchsorted(edges, t.ravel(), side="right").reshape(t.shape) - 1, 0, len(grey) - 1)
    layers = box_blur(grey.astype(np.float32)[band], max(1, n // 128))
    inner = inside(-t, 0.03)
    choroid = np.exp(-np.clip(t - 1, 0, None) / 0.45) * (0.42 + 0.10 * fractal_noise(rng, n, 12))
    below = inside(1 - t, 0.03)
    vitreous = 0.05 + 0.015 * smooth_noise(rng, n, 4)
    speckle = 1 + 0.14 * fractal_noise(rng, n, n // 4, octaves=2)
    flat = mix(mix(vitreous, 0.48, inner), choroid, below)
    full = mix(mix(vitreous, layers, inner), choroid, below)
    shadow = 1 - 0.35 * np.exp(-(((c.u - rng.uniform(-0.9, 0.9)) / 0.02) ** 2)) * (t > 0.1)
    bare, full = (((x * speckle) * shadow)[..., None].astype(np.float32) for x in (flat, full))
    return Organ(full, bare, inside(np.abs(t - 0.55) - 0.55, 0.05) * inside(np.abs(c.u) - 0.85, 0.05))


ORGANS: dict[str, Callable[[Rng, int], Organ]] = {
    "brain_mri": brain_mri,
    "chest_xray": chest_xray,
    "fundus": fundus,
    "head_ct": head_ct,
    "histology": histology,
    "retina_oct": retina_oct,
}
"""The categories of the phantom set."""

__all__ = ["ORGANS", "Canvas", "Organ"]
