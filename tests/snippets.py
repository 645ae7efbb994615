"""The Python examples of the README, the docs and the model cards. Run as a program, it type-checks them with pyright.

    python tests/snippets.py

Only blocks marked ``python`` count. Blocks marked ``py`` need files of other projects.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CARDS = ROOT / "src" / "grasp_planner" / "models" / "checkpoints"
PAGES = sorted(
    [ROOT / "README.md", ROOT / "examples" / "README.md", *(ROOT / "docs").rglob("*.md"), *CARDS.rglob("*.md")]
)
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# As in pyproject.toml, except that a page may define the same name in several blocks.
RULES = {"typeCheckingMode": "basic", "pythonVersion": "3.11", "reportRedeclaration": False}


def blocks(text: str) -> list[str]:
    """Return the Python blocks of a page."""
    return BLOCK.findall(text)


def as_program(text: str) -> str:
    """Return the Python blocks of a page as one program, in which each line has the same number as in the page."""
    program, end = [], 0
    for found in BLOCK.finditer(text):
        program += ["\n" * text.count("\n", end, found.start(1)), found[1]]
        end = found.end(1)
    return "".join(program)


def type_errors(pages: Sequence[Path]) -> Iterator[str]:
    """Yield pyright's errors in the Python blocks of Markdown pages, as ``page:line: message``."""
    with tempfile.TemporaryDirectory() as folder:
        sources = {}
        for number, page in enumerate(pages):
            source = Path(folder) / f"page_{number}.py"
            source.write_text(as_program(page.read_text(encoding="utf-8")), encoding="utf-8")
            sources[source.name] = page
        rules = RULES | {"extraPaths": [str(ROOT / "src")]}
        (Path(folder) / "pyrightconfig.json").write_text(json.dumps(rules), encoding="utf-8")
        command = [sys.executable, "-m", "pyright", "--project", folder, "--pythonpath", sys.executable, "--outputjson"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):  # 1: it found errors
            raise RuntimeError(f"pyright failed with status {done.returncode}: {done.stdout}{done.stderr}")
        for found in json.loads(done.stdout)["generalDiagnostics"]:
            if found["severity"] == "error":
                line = found["range"]["start"]["line"] + 1
                yield f"{sources[Path(found['file']).name]}:{line}: {found['message']}"


def main() -> int:
    """Print the errors of all pages and return the exit status: 0 if there are none."""
    errors = [one.removeprefix(f"{ROOT}/") for one in type_errors(PAGES)]
    count = sum(len(blocks(page.read_text(encoding="utf-8"))) for page in PAGES)
    print("\n".join([*errors, f"{len(errors)} errors in {count} Python examples of {len(PAGES)} pages"]))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
