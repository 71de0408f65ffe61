# SPDX-License-Identifier: Apache-2.0
"""Links lead somewhere, model pages have one order and length, and the citation is of this version."""

import re

import pytest
import yaml

import anomalib_fsad
from anomalib_fsad import registry
from tests.docs.documents import PROJECT, documents

LINK = re.compile(r"\]\(([^)#\s:]+)(?:#[^)\s]*)?\)")
HEADINGS = ["Description", "Architecture", "Usage", "Benchmark", "Sample results"]
MODEL_PAGES = [f"{module.replace('.', '/')}/README.md" for module in registry.MODELS.values()]


@pytest.mark.parametrize("document", documents())
def test_links_lead_somewhere(document):
    page = PROJECT / document
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    lost = [target for target in LINK.findall(prose) if not (page.parent / target).exists()]
    assert not lost


@pytest.mark.parametrize("document", MODEL_PAGES)
def test_model_pages_are_alike(document):
    text = (PROJECT / document).read_text()
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == HEADINGS
    assert len(text.split()) < 700
    assert "Model type: segmentation." in text
    assert re.search(r"!\[[^]]+\]\(\S+docs/pictures/\w+\.svg\)", text), "the architecture's picture"
    assert "docs/differences/" in text


def test_every_page_is_in_the_site():
    navigation = str(yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"])
    pages = {path.relative_to(PROJECT / "docs").as_posix() for path in (PROJECT / "docs").rglob("*.md")}
    assert {page for page in pages if f"'{page}'" not in navigation} == set()
    for document in MODEL_PAGES:
        assert f"models/{document.split('/')[-2]}.md" in navigation


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert citation["version"] == anomalib_fsad.__version__
    models = [re.search(r"The model (\w+)\.", paper["notes"])[1] for paper in citation["references"]]
    assert models == list(registry.MODELS)
    for model, paper in zip(MODEL_PAGES, citation["references"], strict=True):
        assert paper["url"] in (PROJECT / model).read_text()
