# SPDX-License-Identifier: Apache-2.0
"""A picture a prediction: what anomalib shows, and under it the support images with what each counted."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from anomalib.utils.path import generate_output_filename
from anomalib.visualization import ImageVisualizer
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from anomalib_fsad.models.components.detector import normalization_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

CAPTION_HEIGHT = 18
BAR_COLOR = (66, 165, 245)
BOX_COLOR = (255, 214, 0)
BACKGROUND = (24, 24, 27)


class D24FADVisualizer(ImageVisualizer):
    """anomalib's image visualizer, with a row of the support images under each picture; takes the same arguments."""

    def on_test_batch_end(
        self,
        trainer: "Trainer",
        pl_module: Any,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Save a picture for each image of the batch."""
        del outputs, batch_idx, dataloader_idx
        if self.output_dir is None:
            self.output_dir = Path(trainer.default_root_dir) / "images"
        support = support_pictures(pl_module)
        weights: Sequence[Any] = getattr(batch, "support_weights", [None] * len(batch))
        datamodule = getattr(trainer, "datamodule", None)
        boxes = nearest_boxes(batch)
        for item, item_weights, box in zip(batch, weights, boxes, strict=True):
            picture = self.visualize(item)
            if not isinstance(picture, Image.Image):
                continue
            if item_weights is not None and len(item_weights) == len(support):
                shown = support if box is None else with_box(support, *box)
                picture = with_support(picture, shown, item_weights.tolist())
            picture.save(
                generate_output_filename(
                    input_path=item.image_path or "",
                    output_path=self.output_dir,
                    dataset_name=getattr(datamodule, "name", None),
                    category=getattr(datamodule, "category", None),
                )
            )


def support_pictures(model: Any) -> list[Image.Image]:
    """The support set as pictures, the pre-processor's normalisation undone."""
    images: Tensor = model.model.support.images.detach().cpu()
    if len(images) == 0:
        return []
    step = normalization_of(model.pre_processor)
    if step is not None:
        mean, std = torch.tensor(step.mean), torch.tensor(step.std)
        images = images * std[:, None, None] + mean[:, None, None]
    return [to_pil_image(image.clamp(0, 1)) for image in images]


def nearest_boxes(batch: Any) -> list[tuple[int, list[float]] | None]:
    """Which support has the patch nearest to each image's hottest place, and where; ``None`` with other matching."""
    if getattr(batch, "nearest_box", None) is None:
        return [None] * len(batch)
    return list(zip(batch.nearest_support.tolist(), batch.nearest_box.tolist(), strict=True))


def with_box(support: Sequence[Image.Image], place: int, box: Sequence[float]) -> list[Image.Image]:
    """The support's pictures, one of them with a box: left, top, right, bottom as shares of its size."""
    boxed = [picture.convert("RGB") for picture in support]
    width, height = boxed[place].size
    left, top, right, bottom = (round(share * side) for share, side in zip(box, (width, height) * 2, strict=True))
    pen = ImageDraw.Draw(boxed[place])
    pen.rectangle((left, top, min(right, width - 1), min(bottom, height - 1)), outline=BOX_COLOR, width=2)
    return boxed


def with_support(picture: Image.Image, support: Sequence[Image.Image], weights: Sequence[float]) -> Image.Image:
    """``picture`` with a row of the support images under it, each with a bar as long as its weight."""
    side = min(picture.width // max(len(support), 4), picture.height)
    canvas = Image.new("RGB", (picture.width, picture.height + CAPTION_HEIGHT + side), BACKGROUND)
    canvas.paste(picture, (0, 0))
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(size=12)
    for place, (image, weight) in enumerate(zip(support, weights, strict=True)):
        left, top = place * side, picture.height
        draw.rectangle((left, top, left + round((side - 2) * weight), top + CAPTION_HEIGHT - 2), fill=BAR_COLOR)
        draw.text((left + 4, top + 1), f"support {place + 1}: {weight:.2f}", fill="white", font=font)
        canvas.paste(image.convert("RGB").resize((side - 2, side)), (left, top + CAPTION_HEIGHT))
    return canvas
