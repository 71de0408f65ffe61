# SPDX-License-Identifier: Apache-2.0
"""Griffe extension: docstrings as anomalib writes them, in words that the API pages understand."""

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:mod|class|func|meth|data|attr):`~?([^`]+)`")


class AnomalibDocstrings(griffe.Extension):
    """``Example:`` holds code, and a Sphinx role is a name in code."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:  # noqa: ARG002
        """Called with each object, once it is complete."""
        if obj.docstring:
            text = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
            obj.docstring.value = ROLE.sub(r"`\1`", text)
