# SPDX-License-Identifier: Apache-2.0
"""MkDocs hook: pages that live beside their code become pages of the site, and links are true in both places.

In the repository a link is relative to the file that holds it; that is how it is written, everywhere. Here links to
what is a page or a picture of the site lead there, and links to other files become their path, in words.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).parents[1]

ELSEWHERE = {
    "README.md": "index.md",
    "anomalib_fsad/models/d24fad/README.md": "models/d24fad.md",
    "anomalib_fsad/models/scrd4ad/README.md": "models/scrd4ad.md",
    "anomalib_fsad/models/pdd/README.md": "models/pdd.md",
    "anomalib_fsad/models/vmamba/README.md": "models/vmamba.md",
    "anomalib_fsad/deploy/README.md": "deployment.md",
    "benchmarks/README.md": "benchmarks/running.md",
    "benchmarks/RESULTS.md": "benchmarks/results.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
}
"""File of the repository -> page of the site. What lies in docs/ has its place already."""

PICTURES = ("benchmarks/results/**/*.png", "benchmarks/results/**/*.svg")

LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#\s]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and pictures from outside of docs/."""
    pictures = [path.relative_to(PROJECT).as_posix() for pattern in PICTURES for path in PROJECT.glob(pattern)]
    for source, page in {**ELSEWHERE, **{picture: picture for picture in pictures}}.items():
        files.append(File.generated(config, page, abs_src_path=str(PROJECT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Turn the links of the repository into links of the site, but not in code."""
    here = page.file.src_uri
    source = next((file for file, name in ELSEWHERE.items() if name == here), f"docs/{here}")

    def of_the_site(link: re.Match[str]) -> str:
        picture, text, target, anchor = link.group(1), link.group(2), link.group(3), link.group(4) or ""
        if not target or re.match(r"[a-z]+:", target):
            return link.group()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = ELSEWHERE.get(path, path.removeprefix("docs/"))
        if files.get_file_from_path(name) is not None:
            return f"{picture}[{text}]({posixpath.relpath(name, posixpath.dirname(here) or '.')}{anchor})"
        if not (PROJECT / path).exists():
            return link.group()  # strict mode tells where it is
        return f"`{path}`" if text.strip("`") in path else f"{text} (`{path}`)"

    parts = re.split(r"(^```.*?^```$)", markdown, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if part.startswith("```") else LINK.sub(of_the_site, part) for part in parts)
