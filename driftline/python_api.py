"""`driftline.register`: register a model from Python."""

import html
import sys
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd

from driftline.answered_request import require_request
from driftline.converters import to_onnx
from driftline.first_promotion import promote_first
from driftline.gates.registration import gate_registered
from driftline.local_actor import local_actor
from driftline.registration import describe
from eventlog.settings import Home
from registry.manifest import Version
from registry.manifest_file import read_fields
from registry.store import Registry


class RegisteredVersion(Version, frozen=True, kw_only=True):
    """A registered version, shown in a notebook as a table with the inferred fields."""

    def __repr__(self) -> str:
        indented = (
            (heading, text.replace("\n", "\n" + " " * 12)) for heading, text in self._rows()
        )
        return "\n".join(f"{heading:<12}{text}" for heading, text in indented)

    def _repr_html_(self) -> str:
        style = "style='text-align:left; vertical-align:top'"
        cells = (
            f"<tr><th {style}>{html.escape(heading)}</th>"
            f"<td {style}>{html.escape(text).replace(chr(10), '<br>')}</td></tr>"
            for heading, text in self._rows()
        )
        return f"<table>{''.join(cells)}</table>"

    def _rows(self) -> list[tuple[str, str]]:
        return [("version", f"{self.model} {self.number}, sha256 {self.digest}"), *describe(self)]


def register(  # noqa: PLR0913  # one argument per option of the command
    name: str,
    model: Any,
    *,
    reference: pd.DataFrame | Mapping[str, Any] | str | Path | None = None,
    target: str = "",
    held_out: bool | None = None,
    manifest: Mapping[str, Any] | str | Path | None = None,
    example: Any = None,
    promote: bool = True,
    answers: str = "",
) -> RegisteredVersion:
    """Register a model as the next version of `name`; promote it if it is the first version.

    `model` is a path, bytes, an onnx.ModelProto, a scikit-learn estimator or pipeline, a model of
    XGBoost, LightGBM or CatBoost, or a torch.nn.Module with an `example` input. `reference` has
    rows outside the training data: a DataFrame, arrays by input, or a file. Fields that are not in
    `manifest` are inferred. `answers` is the id of the retraining request that the model answers.

    Raises a DriftlineError that names the fault; nothing is stored then.
    """
    require_request(Home.from_environment(), name, answers)
    registry = Registry(Home.from_environment(), wait=True)
    fields = read_fields(Path(manifest)) if isinstance(manifest, str | Path) else manifest or {}
    all_fields = {**fields} if held_out is None else {**fields, "held_out": held_out}
    rows = example if example is not None else _without(reference, target)
    actor = local_actor("register", name)
    version = registry.register(
        Path(model) if isinstance(model, str | Path) else to_onnx(model, rows),
        model=name,
        manifest=all_fields,
        reference=_reference(reference),
        target=target,
        actor=actor.name,
        answers=answers,
    )
    gate_registered(Home.from_environment(), version, actor.name)
    if promote and actor.may_promote and promote_first(registry, version, actor.name):
        sys.stderr.write(f"{name} champion is version {version.number}: it answers requests\n")
    else:
        sys.stderr.write(f"{_unpromoted(version, registry.aliases(name))}\n")
    return RegisteredVersion(**msgspec.structs.asdict(version))


def _unpromoted(version: Version, aliases: Mapping[str, str]) -> str:
    """Return the message about a version without an alias, with the command to promote it."""
    model, number = version.model, version.number
    champion = aliases.get("champion")
    state = f"champion is version {champion}" if champion else "no version is champion"
    return (
        f"{model} version {number} is registered; {state}: driftline promote {model} --version "
        f"{number}"
    )


def _without(reference: Any, target: str) -> Any:
    """Return a DataFrame without its target column, for a converter; None for other references."""
    if not isinstance(reference, pd.DataFrame):
        return None
    return reference.drop(columns=target) if target in reference.columns else reference


def _reference(rows: Any) -> Path | bytes | None:
    if rows is None:
        return None
    if isinstance(rows, str | Path):
        return Path(rows)
    buffer = BytesIO()
    if isinstance(rows, pd.DataFrame):
        rows.to_parquet(buffer, index=False)
    else:
        arrays: dict[str, Any] = {str(name): np.asarray(array) for name, array in rows.items()}
        np.savez(buffer, **arrays)
    return buffer.getvalue()
