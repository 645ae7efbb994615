"""Changes to one named function of the source, made on its syntax tree, so that formatting does not matter."""

from __future__ import annotations

import ast
import copy
import functools
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "grasp_planner"

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Lost(AssertionError):
    """Raised if the function, or the place in it, does not exist or is not unique."""


class Condition(NamedTuple):
    """Replace the condition of one ``if`` statement or conditional expression.

    Args:
        marker: a name in the condition, or a piece of a text directly under an ``if`` statement, such as its error
            message.
        value: the new condition.
    """

    marker: str
    value: bool = False

    def apply(self, function: Function) -> None:
        """Change the function in place."""
        nodes = (node for node in ast.walk(function) if isinstance(node, ast.If | ast.IfExp) and self._marked(node))
        _only(nodes, self).test = ast.Constant(self.value)  # type: ignore[attr-defined]

    def _marked(self, node: ast.If | ast.IfExp) -> bool:
        if isinstance(node, ast.IfExp):
            return self.marker in names_in(node.test)
        return self.marker in names_in(node.test) or any(
            isinstance(part, ast.Constant) and isinstance(part.value, str) and self.marker in part.value
            for statement in node.body
            if not isinstance(statement, ast.If)
            for part in ast.walk(statement)
        )


class Assignment(NamedTuple):
    """Replace the value of one assignment, or remove the assignment.

    Args:
        target: target of the assignment, such as ``"cost"`` or ``"self.rows"``; ``"total |="`` for an augmented
            assignment.
        value: an expression; ``None`` removes the assignment.
    """

    target: str
    value: str | None = None

    def apply(self, function: Function) -> None:
        """Change the function in place."""
        node = _only((node for node in ast.walk(function) if self.target in assigned_by(node)), self)
        if self.value is None:
            _remove(function, node)
        else:
            node.value = _expression(self.value)  # type: ignore[attr-defined]


class Call(NamedTuple):
    """Replace one call of a function or method, or remove the statement that consists of the call.

    Args:
        name: name of the function or method, without the object before the dot.
        value: an expression, in which ``{0}``, ``{1}`` are the arguments and ``{self}`` is the object before the dot;
            ``None`` removes the statement, which must consist only of the call.
    """

    name: str
    value: str | None = None

    def apply(self, function: Function) -> None:
        """Change the function in place."""
        call = _only((node for node in ast.walk(function) if self._matches(node)), self)
        assert isinstance(call, ast.Call)
        if self.value is None:
            statements = (node for node in ast.walk(function) if isinstance(node, ast.Expr) and node.value is call)
            _remove(function, _only(statements, self))
            return
        owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
        new = _expression(self.value.format(*map(ast.unparse, call.args), self=owner))
        _Replace(call, new).visit(function)

    def _matches(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", None)) == self.name


Change = Condition | Assignment | Call


class Changed(NamedTuple):
    """A module with one function changed: its path within the package and its new text."""

    path: Path
    text: str


def operated(function: str, change: Change, source: Path = SOURCE) -> Changed:
    """Apply a change to the function with this qualified name, in any module of the package.

    Raises:
        Lost: no function or several functions of the package have the name, or no place or several places in it fit.
    """
    places = [(path, name) for path in modules(source) for name in functions(path) if name == function]
    if len(places) != 1:
        raise Lost(f"{len(places)} functions are called {function}: {[str(path) for path, _ in places]}")
    path = places[0][0]
    tree = copy.deepcopy(parsed(path))
    node = dict(_qualified(tree))[function]
    change.apply(node)
    return Changed(path.relative_to(source), ast.unparse(ast.fix_missing_locations(tree)))


def modules(source: Path) -> list[Path]:
    """Return every module of a package."""
    return sorted(source.rglob("*.py"))


@functools.cache
def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a module."""
    return ast.parse(path.read_text(encoding="utf-8"))


@functools.cache
def functions(path: Path) -> tuple[str, ...]:
    """Return the functions of a module by qualified name, such as ``"Problem.call"``."""
    return tuple(name for name, _ in _qualified(parsed(path)))


def _qualified(node: ast.AST, prefix: str = "") -> list[tuple[str, Function]]:
    found: list[tuple[str, Function]] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            found.append((prefix + child.name, child))
        if isinstance(child, Function | ast.ClassDef):
            found += _qualified(child, f"{prefix}{child.name}.")
    return found


def names_in(node: ast.AST) -> set[str]:
    """Return the variables and attributes that an expression reads."""
    return {getattr(part, "id", getattr(part, "attr", "")) for part in ast.walk(node)}


def assigned_by(node: ast.AST) -> set[str]:
    """Return the targets of an assignment, and each part of a target that is a tuple."""
    if isinstance(node, ast.AugAssign):
        operators = {ast.BitOr: "|", ast.BitAnd: "&", ast.Add: "+", ast.Sub: "-"}
        return {f"{ast.unparse(node.target)} {operators.get(type(node.op), '?')}="}
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    parts = [part for one in targets for part in (one.elts if isinstance(one, ast.Tuple) else [one])]
    return {ast.unparse(part) for part in parts}


def _only(nodes, change: Change) -> ast.AST:
    found = list(nodes)
    if len(found) != 1:
        raise Lost(f"{len(found)} places fit {change}: {[ast.unparse(node) for node in found]}")
    return found[0]


def _expression(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


def _remove(function: Function, statement: ast.AST) -> None:
    _Replace(statement, ast.Pass()).visit(function)


class _Replace(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)
