"""The site builds without a warning, shows each page as the repository does, and loads nothing from elsewhere."""

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from tools.commands_page import commands
from tools.docs_site import COMMANDS, MOUNTED

ROOT = Path(__file__).parents[2]
PAGES = {
    **{str(path.relative_to(ROOT)): str(path.relative_to(ROOT / "docs")) for path in ROOT.glob("docs/**/*.md")},
    **MOUNTED,
}
"""Path in the repository to path in the site."""
STRUCTURE = frozenset(("h1", "h2", "h3", "h4", "ul", "ol", "li", "table", "tr", "pre", "blockquote", "img"))
LOADED = {"link": "href", "script": "src", "img": "src", "iframe": "src", "source": "src", "object": "data"}
NAMES_ONLY = frozenset(("canonical", "prev", "next"))
"""Relations of <link> that name a page and load nothing."""


class Seen(HTMLParser):
    """What a page consists of, and what a browser loads for it."""

    def __init__(self, *, inside: str | None = None) -> None:
        super().__init__()
        self.structure: list[str] = []
        self.loaded: list[str] = []
        self.policies: list[str] = []
        self._inside = inside
        self._watching = inside is None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        having = dict(attrs)
        if tag == self._inside:
            self._watching = True
        elif tag in STRUCTURE and self._watching:
            self.structure.append(tag)
        if having.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(having["content"] or "")
        target = having.get(LOADED.get(tag, ""))
        if target and having.get("rel") not in NAMES_ONLY:
            self.loaded.append(target)

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._watching = False


def seen(html: str, *, inside: str | None = None) -> Seen:
    found = Seen(inside=inside)
    found.feed(html)
    return found


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site strictly: a broken link or anchor, and a page that is in no navigation, fail it."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(directory)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert built.returncode == 0, built.stderr
    return directory


def html_of(site: Path, page: str) -> str:
    built = re.sub(r"(^|/)README\.md$", r"\1index.md", page).removesuffix(".md") + ".html"
    return (site / built).read_text("utf-8")


def test_its_sections_follow_a_users_questions(site: Path) -> None:
    tabs = re.findall(r'<li class="md-tabs__item.*?<a [^>]*>\s*(.*?)\s*</a>', html_of(site, "index.md"), re.DOTALL)
    assert tabs == [
        "Start",
        "Concepts",
        "Tutorials",
        "Runbooks",
        "Reference",
        "Rules",
        "Decisions",
        "Contributing",
    ]


@pytest.mark.parametrize("source", sorted(PAGES))
def test_a_page_has_the_structure_that_the_repository_shows(site: Path, source: str) -> None:
    """Python-Markdown needs blank lines and four spaces where CommonMark does not: lists, tables and code show it."""
    markdown = MarkdownIt("commonmark").enable("table")
    expected = seen(markdown.render((ROOT / source).read_text("utf-8"))).structure
    assert seen(html_of(site, PAGES[source]), inside="article").structure == expected


def test_every_command_is_in_the_reference(site: Path) -> None:
    text = html_of(site, COMMANDS)
    names = [name for name, _ in commands()]
    assert len(names) > 30
    assert [name for name in names if f">{name}<" not in text] == []


def test_it_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        found = seen(page.read_text("utf-8"))
        elsewhere = [each for each in found.loaded if re.match(r"[a-z]+:|//", each) and not each.startswith("data:")]
        assert elsewhere == [], page
        assert len(found.policies) == 1, page
        assert "default-src 'self'" in found.policies[0]
    for sheet in site.rglob("*.css"):
        assert re.findall(r"@import|url\(\s*[\"']?(?:https?:)?//[^)]*", sheet.read_text("utf-8")) == [], sheet
