# SPDX-License-Identifier: Apache-2.0
"""Links lead somewhere, model pages have one order and length, and the citation is of this version."""

import re

import pytest
import yaml

import anomalib_fsad
from anomalib_fsad import registry
from tests.docs.documents import PROJECT, TRIED_AS_A_WHOLE, documents

NAMED = re.compile(r"\b(?:configs|benchmarks|tests|docs|anomalib_fsad)/[\w./-]+\.(?:yaml|py|md|png|csv|json|svg)\b")
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
    assert "Model type: segmentation." in text
    assert re.search(r"!\[[^]]+\]\(\S+docs/pictures/\w+\.svg\)", text), "the architecture's picture"
    assert "docs/differences/" in text


@pytest.mark.parametrize("page", sorted((PROJECT / "anomalib_fsad/models").glob("*/README.md")), ids=str)
def test_pages_of_networks_are_short(page):
    assert len(page.read_text().split()) < 700


@pytest.mark.parametrize("document", documents())
def test_files_that_are_named_exist(document):
    page = PROJECT / document
    named = NAMED.findall(page.read_text())
    if document == TRIED_AS_A_WHOLE:
        named = [name for name in named if name != "configs/model/toy.yaml"]  # the reader's own
    assert not [name for name in named if not (PROJECT / name).exists() and not (page.parent / name).exists()]


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
