"""Prepare docstrings for the reference: examples become code blocks, and roles such as :class: become links."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension

ROLE = re.compile(r":(?:class|func|meth|mod|attr):`~?([\w.]+)`")
DOCTEST = re.compile(r"^([ \t]*)>>> .*(?:\n\1[^\n\S]*\S.*)*", re.MULTILINE)


def prepared(text: str) -> str:
    """Return a docstring in which every doctest is a code block and every role is a name in code."""
    text = ROLE.sub(lambda found: f"`{found[1].rsplit('.', 1)[-1]}`", text)
    return DOCTEST.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)


class Docstrings(Extension):
    """Prepares the docstring of every object that griffe loads."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = prepared(obj.docstring.value)
