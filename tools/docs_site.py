"""What mkdocs does beyond its configuration, for mkdocs.yml.

Pages of the repository that are not in docs/ (README, CONTRIBUTING, the examples' and benchmarks' READMEs) become pages
of the site, and so does the help of every command. Links to them are rewritten; links to other files of the repository
lose their target and keep their text, since the site does not contain them. In the navigation, ``DIRECTORY/*`` is
replaced by that directory's other pages.
"""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page
from tools import commands_page

ROOT = Path(__file__).parents[1]
DOCS = "docs"
MOUNTED = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changes.md",
    **{
        f"examples/{each.parent.name}/README.md": f"tutorials/{each.parent.name}.md"
        for each in ROOT.glob("examples/*/README.md")
    },
    **{
        f"benchmarks/{each.parent.name}/README.md": f"benchmarks/{each.parent.name}.md"
        for each in ROOT.glob("benchmarks/*/README.md")
    },
}
"""Path in the repository to path in the site."""
COMMANDS = "reference/commands.md"
_SOURCES = {page: source for source, page in MOUNTED.items()}
_FENCED = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)
_KEY = re.compile(r"<td><code>[\w.\[\]]+</code></td>")
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/."""
    for source, page in MOUNTED.items():
        text = (ROOT / source).read_text("utf-8")
        files.append(File.generated(config, page, content=text, inclusion=InclusionLevel.INCLUDED))
    files.append(File.generated(config, COMMANDS, content=commands_page.page(), inclusion=InclusionLevel.INCLUDED))
    pages = sorted(file.src_uri for file in files.documentation_pages())
    named = frozenset(_named(config.nav))
    config.nav = _expanded(config.nav, [page for page in pages if page not in named])
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Rewrite the links of a page to what the site contains."""
    parts = _FENCED.split(markdown)
    parts[::2] = [_LINK.sub(lambda link: _rewritten(page.file.src_uri, link), part) for part in parts[::2]]
    return "".join(parts)


def on_page_content(html: str, **_: Any) -> str:
    """Let the keys of the reference's tables break after a dot."""
    return _KEY.sub(lambda cell: cell[0].replace(".", ".<wbr>"), html)


def _rewritten(page: str, link: re.Match[str]) -> str:
    mark, text, target = link.groups()
    path, hash_sign, anchor = target.partition("#")
    if not path or ":" in path:
        return link[0]
    here = _SOURCES.get(page, f"{DOCS}/{page}")
    repository_path = normpath(str(PurePosixPath(here).parent / path))
    if not (ROOT / repository_path).exists():
        return link[0]  # mkdocs reports it
    if repository_path in MOUNTED:
        site_path = MOUNTED[repository_path]
    elif repository_path.startswith(f"{DOCS}/"):
        site_path = repository_path.removeprefix(f"{DOCS}/")
    else:
        return text
    return f"{mark}[{text}]({relpath(site_path, str(PurePosixPath(page).parent))}{hash_sign}{anchor})"


def _named(nav: Any) -> list[str]:
    """Return the pages that the navigation names one by one."""
    if isinstance(nav, str):
        return [nav]
    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in _named(entry)]


def _expanded(nav: Any, rest: list[str]) -> Any:
    """Return the navigation with ``DIRECTORY/*`` replaced by those of the rest that are in the directory."""
    if isinstance(nav, dict):
        return {
            title: _expanded([entry] if isinstance(entry, str) and entry.endswith("/*") else entry, rest)
            for title, entry in nav.items()
        }
    if isinstance(nav, str):
        return nav
    found: list[Any] = []
    for entry in nav:
        if isinstance(entry, str) and entry.endswith("/*"):
            found += [page for page in rest if page.rpartition("/")[0] == entry.removesuffix("/*")]
        else:
            found.append(_expanded(entry, rest))
    return found
