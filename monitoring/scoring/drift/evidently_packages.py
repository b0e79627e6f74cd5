"""Lazy import of Evidently's packages.

`import evidently` imports its user interface, its tools for language models and every metric, which
takes several seconds and hundreds of megabytes. The packages listed here are replaced by packages
that import a name when it is first read.
"""

import ast
import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec, resolve_name
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGES = (
    "evidently",
    "evidently.legacy.tests",
    "evidently.legacy.metrics",
    "evidently.metrics",
)


class _OnDemand(ModuleType):
    """A package that imports a name when it is first read."""

    sources: dict[str, tuple[str, str]]  # name -> module, and name there ("" for the module itself)

    def __getattr__(self, name: str) -> Any:
        """Return a name after importing it as the package's own file does.

        Raises:
            AttributeError: the package's file does not import this name.
        """
        if name not in self.sources:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, of_module = self.sources[name]
        value: Any = import_module(module)
        if of_module:
            value = getattr(value, of_module)
        setattr(self, name, value)
        return value


def import_on_demand() -> None:
    """Replace Evidently's packages by lazy packages, unless Evidently is already imported."""
    if _PACKAGES[0] in sys.modules:
        return
    for name in _PACKAGES:
        _replace(name)


def _replace(name: str) -> None:
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    package = module_from_spec(spec)
    package.__class__ = _OnDemand
    assert isinstance(package, _OnDemand)
    package.sources = _sources(name, Path(spec.origin).read_text(encoding="utf-8"))
    sys.modules[name] = package
    parent, _, own_name = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own_name, package)


def _sources(package: str, text: str) -> dict[str, tuple[str, str]]:
    """Return the names that a package's file imports, with their modules."""
    sources: dict[str, tuple[str, str]] = {}
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.ImportFrom):
            continue
        module = resolve_name("." * statement.level + (statement.module or ""), package)
        for alias in statement.names:
            is_part = module == package  # the statement imports a module of the package itself
            source = (f"{package}.{alias.name}", "") if is_part else (module, alias.name)
            sources[alias.asname or alias.name] = source
    return sources
