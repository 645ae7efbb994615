"""Hooks of the documentation site: pages from outside of docs/, links between them, and formulas as MathML.

Pages keep the links that work in the repository. The hooks add the pages outside of docs/ that these links lead to
(model cards, examples, CONTRIBUTING, CHANGELOG) to the site, and rewrite the links.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.plugins import event_priority

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
BLOCK_FORMULA = re.compile(r"^\$\$\n(.+?)\n\$\$$", re.MULTILINE | re.DOTALL)
FORMULA = re.compile(r"(?<![\\$\w])\$([^$\n]+)\$(?![$\d])")


def added_pages() -> dict[str, Path]:
    """Return the pages outside of docs/: path on the site -> file in the repository."""
    cards = (ROOT / "src" / "grasp_planner" / "models" / "checkpoints").glob("*/README.md")
    scripts = [path for path in (ROOT / "examples").iterdir() if path.suffix in (".py", ".sbatch")]
    return {
        "contributing.md": ROOT / "CONTRIBUTING.md",
        "changelog.md": ROOT / "CHANGELOG.md",
        "examples/README.md": ROOT / "examples" / "README.md",
        **{f"models/{card.parent.name}.md": card for card in sorted(cards)},
        **{f"examples/{path.name.replace('.', '_')}.md": path for path in sorted(scripts)},
    }


def as_page(path: Path) -> str:
    """Return the Markdown of an added page. A script is shown with its docstring as the text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    if path.suffix != ".py":
        return f"# {path.name}\n\n[All examples](README.md)\n\n```bash\n{text}```\n"
    about = ast.get_docstring(ast.parse(text)) or ""
    title, _, rest = about.partition("\n")
    code = text.split('"""', 2)[2].lstrip("\n")
    head = f"# {title.rstrip('.')}\n\n`examples/{path.name}` · [all examples](README.md)\n\n"
    return f"{head}{rest.strip()}\n\n## Code\n\n```python\n{code}```\n"


@event_priority(-100)  # after the plugin `offline`
def on_config(config: Any) -> Any:
    """Replace the script that `offline` loads from a network, so that search works in pages opened from a file."""
    config.extra["polyfills"] = ["site/worker.js"]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages from outside of docs/."""
    from mkdocs.structure.files import File

    for name, path in added_pages().items():
        files.append(File.generated(config, name, content=as_page(path)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Rewrite links to files outside of docs/, and turn formulas into MathML, but not inside of code."""
    return outside_of_code(markdown, lambda text: with_formulas(with_links(text, page.file.src_uri)))


def outside_of_code(markdown: str, change: Any) -> str:
    """Apply a change to the parts of a page that are not code."""
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    changed = change(FENCED.sub(keep, markdown))
    return re.sub("\0(\\d+)\0", lambda found: kept[int(found[1])], changed)


def with_links(text: str, name: str) -> str:
    """Rewrite the links of the page ``name`` that leave docs/, so that they lead to the added pages."""
    added = added_pages()
    source = added.get(name, ROOT / "docs" / name)
    sites = {path: site for site, path in added.items()}

    def rewritten(found: re.Match[str]) -> str:
        link = found[1]
        if link.startswith(("#", "http://", "https://", "mailto:")):
            return link
        file, mark, anchor = link.partition("#")
        target = Path(os.path.normpath(source.parent / file))
        if target in sites:
            target = ROOT / "docs" / sites[target]
        return os.path.relpath(target, (ROOT / "docs" / name).parent) + mark + anchor

    return LINK.sub(rewritten, text)


def with_formulas(text: str) -> str:
    """Turn formulas between dollar signs into MathML, which browsers draw without a script."""
    blocks = BLOCK_FORMULA.sub(
        lambda found: f'<div class="formula">{convert(" ".join(found[1].split()), display="block")}</div>', text
    )
    # In a span, since Markdown takes a formula at the beginning of a line for a block.
    return FORMULA.sub(lambda found: f"<span>{convert(found[1])}</span>", blocks)
