"""`driftline review`: export rows that need labels to files, and import the labels."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from driftline.local_actor import local_actor
from eventlog.errors import SettingError
from eventlog.settings import LOG_PREFIX, Home, LogSettings, from_environment
from monitoring.presenter.formats import several
from monitoring.settings import database_address
from registry.labels import category
from registry.manifest import Manifest
from registry.store import Registry
from telemetry.clock import now_us

if TYPE_CHECKING:
    from monitoring.review_desk.exchange import Labelled
    from monitoring.review_desk.leases import Decision, ReviewDesk
    from monitoring.reviews.rows import PickedRow

_FORMATS = ("driftline", "label-studio", "argilla")
_LONGEST_WHY = 2_000  # characters
_MOST_NAMED = 5  # maximum number of refused labels in a message


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [review]


@click.group()
def review() -> None:
    """Export rows to label, and import their labels.

    The policy `review` of a model selects the rows. They are labelled on the status page or in
    another tool.
    """


@review.command()
@click.argument("model")
@click.option("--format", "to", type=click.Choice(_FORMATS), default="driftline", show_default=True)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="File.  [default: stdout]"
)
@click.option("--limit", type=click.IntRange(1, 500), default=500, show_default=True)
def export(*, model: str, to: str, output: Path | None, limit: int) -> None:
    """Write the rows of MODEL that need a label, as JSON."""
    from monitoring.review_desk.exchange import FORMATS, export_rows  # noqa: PLC0415
    from monitoring.review_desk.items import item_of  # noqa: PLC0415

    home = Home.from_environment()
    local_actor("review", model)
    desk, manifests = _desk(home), _Manifests(home, model)
    try:
        waiting = desk.waiting_rows(model, limit)
    finally:
        desk.close()
    if not waiting:
        Registry(home).versions(model)  # raises UnknownModel for a misspelt name
    items = [item_of(row, manifests.of(row.version)) for row in waiting]
    content = export_rows(items, FORMATS[_FORMATS.index(to)])
    if output is None:
        click.echo(content.decode(), nl=False)
    else:
        output.write_bytes(content)
    click.echo(f"{model}: {several(len(items), 'row')} to label", err=True)


@review.command("import")
@click.argument("model")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--why", default="", help="Reason, recorded with each label without a reason in FILE."
)
def import_command(*, model: str, file: Path, why: str) -> None:
    """Record the labels of FILE, in the format of `review export`, Label Studio or Argilla.

    Rows without a label stay in the queue. Rows with a decision are not changed.
    """
    from monitoring.review_desk.exchange import import_rows  # noqa: PLC0415

    home = Home.from_environment()
    actor = local_actor("review", model).name
    try:
        labelled_rows = import_rows(file.read_bytes())
    except ValueError as error:
        raise SettingError(f"{file}: {error}") from None
    desk, manifests = _desk(home), _Manifests(home, model)
    counts: Counter[str] = Counter()
    refused: list[str] = []
    try:
        for labelled_row in labelled_rows:
            outcome, reason = _record(desk, manifests, model, labelled_row, actor, why)
            counts[outcome] += 1
            refused += (
                [f"row {labelled_row.row} of {labelled_row.prediction_id[:60]}: {reason}"]
                if reason
                else []
            )
    finally:
        desk.close()
    click.echo(
        f"{several(counts['recorded'], 'label')} recorded by {actor}, "
        f"{several(counts['unlabelled'], 'row')} without label, {counts['decided']} decided earlier"
    )
    if refused:
        more = len(refused) - _MOST_NAMED
        rest = f"\nand {more} more" if more > 0 else ""
        raise SettingError(
            f"{file}: {several(len(refused), 'label')} refused:\n"
            + "\n".join(refused[:_MOST_NAMED])
            + rest
        )


class _Manifests:
    """A cache of the manifests of a model's versions."""

    def __init__(self, home: Home, model: str) -> None:
        self._registry = Registry(home)
        self._model = model
        self._by_number: dict[str, Manifest] = {}

    def of(self, number: str) -> Manifest:
        if number not in self._by_number:
            self._by_number[number] = self._registry.version(self._model, number).manifest
        return self._by_number[number]


def _record(  # noqa: PLR0913, PLR0917  # one argument per part of the record
    desk: "ReviewDesk",
    manifests: _Manifests,
    model: str,
    labelled_row: "Labelled",
    actor: str,
    why: str,
) -> tuple[str, str]:
    """Record one label; return its outcome and, if it was refused, the reason."""
    from monitoring.review_desk.leases import ReviewConflict, UnknownReview  # noqa: PLC0415

    if labelled_row.label is None:
        return "unlabelled", ""
    try:
        picked = desk.find(labelled_row.prediction_id, labelled_row.row)
        if picked.label is not None:
            return "decided", ""
        desk.decide(picked, _decision(picked, manifests, model, labelled_row, why), actor)
    except ReviewConflict:
        return "decided", ""
    except UnknownReview:
        return "refused", "the row was not selected for review, or its data has expired"
    except ValueError as error:
        return "refused", str(error)
    return "recorded", ""


def _decision(
    picked: "PickedRow", manifests: _Manifests, model: str, labelled_row: "Labelled", why: str
) -> "Decision":
    """Return the decision that corresponds to a label; raises ValueError for an invalid label."""
    from monitoring.review_desk.items import checked_label  # noqa: PLC0415
    from monitoring.review_desk.leases import Decision  # noqa: PLC0415

    assert labelled_row.label is not None
    if picked.model != model:
        raise ValueError(f"the row belongs to model {picked.model}")
    label = checked_label(labelled_row.label, manifests.of(picked.version))
    by = f"labelled by {labelled_row.labelled_by}" if labelled_row.labelled_by else ""
    reason = "; ".join(part for part in (labelled_row.why or why, by) if part)
    return Decision(
        prediction_id=labelled_row.prediction_id,
        row=labelled_row.row,
        action="accept" if category(label) == category(picked.stored.predicted) else "correct",
        label=label,
        why=reason.replace("\0", "")[:_LONGEST_WHY],
    )


def _desk(home: Home) -> "ReviewDesk":
    from monitoring.review_desk.decision_log import LoggedDecisions  # noqa: PLC0415
    from monitoring.review_desk.leases import ReviewDesk  # noqa: PLC0415

    log = LoggedDecisions(home, from_environment(LogSettings, LOG_PREFIX))
    return ReviewDesk(database_address(home), log, now_us)
