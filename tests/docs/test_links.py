"""Pages lead to each other: no link, anchor or picture that is not there, no page that nothing leads to."""

from pathlib import Path

import pytest
from doc_pages import PAGES, ROOT, anchors, links, read


def targets(page: str) -> list[tuple[Path, str]]:
    """(file, anchor) of every link that stays here."""
    folder = (ROOT / page).parent
    inner = [link.partition("#") for link in links(read(page)) if "://" not in link]
    return [((folder / path).resolve() if path else ROOT / page, anchor) for path, _, anchor in inner]


def test_all_pages_are_known():
    tracked = {str(path.relative_to(ROOT)) for path in ROOT.glob("*.md")}
    tracked |= {
        str(path.relative_to(ROOT))
        for folder in ("controller", "crds", "hack", "manifests", "tests")
        for path in (ROOT / folder).rglob("*.md")
    }
    assert tracked == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page):
    assert [
        (str(path.relative_to(ROOT)), anchor)
        for path, anchor in targets(page)
        if not path.is_file() or (anchor and anchor not in anchors(path.read_text()))
    ] == []


def test_every_page_is_reached_from_the_first():
    reached, fresh = set[Path](), {ROOT / PAGES[0]}
    while fresh:
        reached |= fresh
        fresh = {path for page in fresh for path, _ in targets(str(page.relative_to(ROOT))) if path.suffix == ".md"}
        fresh -= reached
    assert reached == {ROOT / page for page in PAGES}


def test_the_front_page_stays_a_front_page():
    assert len(read("README.md").splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES)
def test_sources_elsewhere_are_public(page):
    assert [link for link in links(read(page)) if "://" in link and not link.startswith("https://")] == []
