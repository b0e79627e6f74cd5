"""The models that a service serves, selected by patterns of their names."""

from registry.manifest import Version
from registry.store import ModelState
from registry.worker_reports import selects
from service.models.loaded_models import RegistryReader


class SelectedModels:
    """A `RegistryReader` that contains only models whose names match a pattern."""

    def __init__(self, catalogue: RegistryReader, patterns: str) -> None:
        """`patterns` are separated by commas, such as `team-a-*,fraud`; "" selects every model."""
        self._catalogue = catalogue
        self._patterns = patterns

    def models(self) -> list[str]:
        """Return the names of the selected models."""
        return [model for model in self._catalogue.models() if self._selected(model)]

    def changed(self, since: int) -> set[str]:
        """Return the selected models that changed after this revision."""
        return {model for model in self._catalogue.changed(since) if self._selected(model)}

    def revision(self) -> int:
        """Return the revision of the registry."""
        return self._catalogue.revision()

    def state(self, model: str) -> ModelState:
        """Return the state of a model."""
        return self._catalogue.state(model)

    def version(self, model: str, number: str) -> Version:
        """Return a version; its files are fetched if they are not on this machine."""
        return self._catalogue.version(model, number)

    def _selected(self, model: str) -> bool:
        return selects(self._patterns, model)
