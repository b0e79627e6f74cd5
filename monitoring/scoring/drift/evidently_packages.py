"""Import parts of Evidently without the rest.

`import evidently` imports its user interface, its tools for language models and every metric, which
takes several seconds and hundreds of megabytes. The packages below are replaced by ones that import
a name when it is first read.
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
    """A package whose names are imported when they are first read."""

    sources: dict[str, tuple[str, str]]  # module, and name in it ("": the module itself), by name

    def __getattr__(self, name: str) -> Any:
        """Import a name as the package's own file would; raises AttributeError."""
        if name not in self.sources:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        module, of_module = self.sources[name]
        value: Any = import_module(module)
        if of_module:
            value = getattr(value, of_module)
        setattr(self, name, value)
        return value


def import_on_demand() -> None:
    """Let the packages of Evidently import nothing before it is used.

    Does nothing if Evidently has been imported.
    """
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
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, package)


def _sources(package: str, text: str) -> dict[str, tuple[str, str]]:
    """Return the names that a package's file imports, with their modules."""
    sources: dict[str, tuple[str, str]] = {}
    for statement in ast.parse(text).body:
        if not isinstance(statement, ast.ImportFrom):
            continue
        module = resolve_name("." * statement.level + (statement.module or ""), package)
        for alias in statement.names:
            is_part = module == package  # a package's own imports are its modules
            source = (f"{package}.{alias.name}", "") if is_part else (module, alias.name)
            sources[alias.asname or alias.name] = source
    return sources
