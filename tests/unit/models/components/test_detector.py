# SPDX-License-Identifier: Apache-2.0
import pytest
from anomalib.models.components import AnomalibModule

from anomalib_fsad.models.components import Detector, Recipe


class Forgetful(Detector, AnomalibModule):
    recipe = Recipe(1)

    def __init__(self, backbone: str = "resnet18", image_size: int = 64, lr: float = 1e-3, max_epochs: int = 1) -> None:
        super().__init__()


def test_an_argument_that_every_model_needs_is_named() -> None:
    with pytest.raises(TypeError, match=r"Forgetful.__init__ must have the arguments .*: no seed"):
        Forgetful()
