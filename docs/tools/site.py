"""What mkdocs calls while it builds: generated pages, and formulas as MathML."""

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from residua.extras import require

ROOT = Path(__file__).parents[2]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from docs.tools.reference import PAGES  # noqa: E402 mkdocs loads this file by its path

_FENCE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE = re.compile(r"\$([^$\n]+)\$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    require("docs", "the documentation")
    for path, make in PAGES.items():
        files.append(File.generated(config, path, content=make()))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Turn TeX between dollars into MathML, which browsers draw without a script."""
    if not page.meta.get("math"):
        return markdown
    parts = _FENCE.split(markdown)
    return "".join(part if _FENCE.fullmatch(part) else _formulas(part) for part in parts)


def _formulas(text: str) -> str:
    from latex2mathml.converter import convert

    text = _BLOCK.sub(
        lambda m: f"\n\n<div>{convert(m[1].strip(), display='block')}</div>\n\n", text
    )
    return _INLINE.sub(lambda m: convert(m[1]), text)
