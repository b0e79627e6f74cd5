"""Names of models in MLflow: by alias, by version, or by run and path."""

from typing import NamedTuple

from eventlog.errors import SettingError

_PREFIX = "mlflow:"
_FORMS = "mlflow:MODEL@ALIAS, mlflow:MODEL/VERSION or mlflow:runs:/RUN/PATH"


class MlflowName(NamedTuple):
    """A parsed name: a model with an alias or a version, or a run with a path."""

    model: str = ""
    alias: str = ""
    version: str = ""
    run: str = ""
    path: str = ""  # path in the run's artefacts


def parse_name(source: str) -> MlflowName:
    """Parse a name; raises SettingError with the valid forms."""
    text = source.removeprefix(_PREFIX)
    if text.startswith("runs:/"):
        run, _, path = text.removeprefix("runs:/").partition("/")
        if run and path:
            return MlflowName(run=run, path=path)
    elif "@" in text:
        model, _, alias = text.rpartition("@")
        if model and alias and "/" not in model:
            return MlflowName(model=model, alias=alias)
    else:
        model, _, version = text.rpartition("/")
        if model and "/" not in model and version.isdecimal():
            return MlflowName(model=model, version=version)
    raise SettingError(f"{source!r}: expected {_FORMS}")
