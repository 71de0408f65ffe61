# SPDX-License-Identifier: Apache-2.0
"""The frame of a page that is one file: readable in light and dark, and closed to the network by its own policy."""

import base64
import hashlib
import html
from functools import cache
from importlib.resources import files

POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src {scripts}"
"""What a browser lets the page do: show what is inside, and run the scripts of this package only."""


def head(title: str, style: str = "", script: str = "") -> str:
    """All before the page's content.

    Args:
        title: of the window.
        style: css beside that of every page.
        script: that :func:`foot` will bring; no other runs, whatever a file's name may smuggle in.

    Example:
        >>> "<title>a &lt; b</title>" in head("a < b")
        True
    """
    style = packaged(__package__, "html_page.css") + style
    policy = POLICY.format(scripts=f"'sha256-{_digest(script)}'" if script else "'none'")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style></head>\n"
        "<body>\n"
    )


def foot(script: str = "") -> str:
    """All after the page's content."""
    return (f"<script>{script}</script>\n" if script else "") + "</body></html>\n"


def data_uri(content: bytes, kind: str) -> str:
    """A file inside the page.

    Example:
        >>> data_uri(b"abc", "image/png")
        'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@cache
def packaged(package: str, name: str) -> str:
    """A text file that lies beside the code."""
    return files(package).joinpath(name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
