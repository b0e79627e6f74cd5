"""Name a model of MLflow: by alias, by version, or by run and path."""

from typing import NamedTuple

from eventlog.errors import SettingError

_PREFIX = "mlflow:"
_FORMS = "mlflow:MODEL@ALIAS, mlflow:MODEL/VERSION or mlflow:runs:/RUN/PATH"


class MlflowName(NamedTuple):
    """A parsed MLflow name: exactly one of alias, version and run path is set."""

    model: str = ""
    alias: str = ""
    version: str = ""
    run: str = ""
    path: str = ""  # below the artefacts of the run


def parse_name(source: str) -> MlflowName:
    """Parse `source`; raises SettingError that lists the valid forms."""
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
