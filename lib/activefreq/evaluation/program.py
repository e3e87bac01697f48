"""Which program made a result: a hash of the code that clicks, answers and measures."""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import activefreq

ROOTS = (
    "activefreq.data.discovery",
    "activefreq.data.resized",
    "activefreq.evaluation.local",
    "activefreq.evaluation.plan",
    "activefreq.evaluation.robot",
)
"""Modules that decide an evaluation's result, with all that they import. Not what runs them, or makes tables."""


@functools.cache
def program_digest(roots: tuple[str, ...] = ROOTS) -> str:
    """Of this package: 16 hexadecimal digits that change with any code that could change a result.

    Args:
        roots: Modules of this package that decide the result.
    """
    return source_digest(Path(activefreq.__file__).parents[1], roots)


def source_digest(folder: Path, roots: Iterable[str]) -> str:
    """Of the code of some modules and of all that `modules_behind` finds behind them.

    Comments, docstrings and the layout of lines do not count.
    """
    digest = hashlib.sha256()
    for name, tree in sorted(modules_behind(folder, roots).items()):
        digest.update(f"{name}\n{ast.unparse(_without_docstrings(tree))}\n".encode())
    return digest.hexdigest()[:16]


def modules_behind(folder: Path, roots: Iterable[str]) -> dict[str, ast.Module]:
    """Modules, and all modules beside them that they import, directly or not.

    Args:
        folder: That the modules' names begin in.
        roots: Names of modules.
    """
    found: dict[str, ast.Module] = {}
    waiting = list(roots)
    while waiting:
        name = waiting.pop()
        path = None if name in found else _file(folder, name)
        if path is not None:
            found[name] = ast.parse(path.read_bytes())
            waiting += _imports(found[name])
    return found


def _file(folder: Path, name: str) -> Path | None:
    """None for what is no module in this folder: those of other packages, and names within a module."""
    path = folder.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(tree: ast.Module) -> Iterator[str]:
    """Names that may be modules; imports within functions count."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            node.body = [part for part in node.body if not _is_text(part)]
    return tree


def _is_text(node: ast.stmt) -> bool:
    """A string that stands alone: a docstring, of whatever it stands in or under."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
