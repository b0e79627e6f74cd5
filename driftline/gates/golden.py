"""`driftline golden`: show or change the golden requests in a model's release policy."""

from pathlib import Path
from typing import Any

import click
import msgspec

from driftline.changes import SetReleasePolicy
from driftline.number_types import FiniteRange
from driftline.registry_access import SERVER, RegistryAccess, open_access
from driftline.status import plain, table_of
from eventlog.settings import Home
from registry.conflicts import retry_conflicts
from registry.errors import InvalidGates
from registry.gates.stated_gates import read_gates
from registry.history.lifecycle import LifecycleState, reduce_rows
from registry.store import Registry

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_WIDTH = 60  # maximum number of characters of a listed value


class _StatedRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One request of a file; if it has no outputs, a version is run to compute them."""

    inputs: dict[str, Any]
    outputs: dict[str, Any] = {}


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [golden]


@click.command()
@click.argument("model")
@click.option("--add", "file", type=_FILE, help="JSON file of requests, with or without outputs.")
@click.option("--remove", type=click.IntRange(1, 1_000_000), help="Number of the listed request.")
@click.option(
    "--version", "number", default="champion", show_default=True,
    help="Number or alias of the version that computes missing outputs of --add.",
)  # fmt: skip
@click.option(
    "--tolerance",
    type=FiniteRange(min=0),
    help="Accepted absolute and relative difference of numbers.",
)
@click.option("--gate", "name", default="golden", show_default=True, help="Name of the gate.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@SERVER
def golden(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    file: Path | None,
    remove: int | None,
    number: str,
    tolerance: float | None,
    name: str,
    why: str,
    server: str,
) -> None:
    """Show or change the golden requests of MODEL: requests with their required outputs.

    A gate of kind answers contains them. For requests of --add without outputs, the champion or
    --version computes the outputs.
    """
    access = open_access(server)
    listed = _gate(_state(access, model), model, name)
    if file is None and remove is None and tolerance is None:
        _show(listed["requests"], listed)
        return
    if not why.strip():
        raise click.UsageError("expected --why: the reason is recorded with the change")
    removed = None if remove is None else _request(listed, name, remove)
    added = [] if file is None else _answered(model, _read(file), number, server)

    def amend() -> tuple[int, int]:
        """Change the current gates; return the number of requests and the revision."""
        state = _state(access, model)
        gate = _gate(state, model, name)
        requests = _without(gate["requests"], removed, name) + added
        changed = gate | {"requests": requests}
        if tolerance is not None:
            changed["tolerance"] = tolerance
        others = {other: fields for other, fields in state.policy.gates.items() if other != name}
        after = others | ({name: changed} if requests else {})
        read_gates(after)
        change = SetReleasePolicy(
            policy={"gates": after}, why=why.strip(), expected_revision=state.revision
        )
        return len(requests), access.change(model, change).revision

    count, revision = retry_conflicts(amend)
    click.echo(f"gate {name} of {model} has {count} requests (revision {revision})")


def _state(access: RegistryAccess, model: str) -> LifecycleState:
    return reduce_rows(access.history(model))


def _gate(state: LifecycleState, model: str, name: str) -> dict[str, Any]:
    """Return the gate of golden requests, or a new gate without requests."""
    gate: dict[str, Any] = state.policy.gates.get(name, {"kind": "answers", "requests": []})
    if gate.get("kind") != "answers":
        raise InvalidGates(
            f"gate {name} of {model} is of kind {gate.get('kind')}; expected a gate of kind answers"
        )
    return gate


def _request(gate: dict[str, Any], name: str, number: int) -> Any:
    requests = gate["requests"]
    if number > len(requests):
        raise InvalidGates(f"no request {number}; gate {name} has {len(requests)}")
    return requests[number - 1]


def _without(requests: list[Any], removed: Any, name: str) -> list[Any]:
    """Return the requests without `removed`, found by content because its number may change."""
    if removed is None:
        return requests
    if removed not in requests:
        raise InvalidGates(f"the request was removed from gate {name} meanwhile")
    place = requests.index(removed)
    return requests[:place] + requests[place + 1 :]


def _read(file: Path) -> list[_StatedRequest]:
    """Return the requests of a file, which contains a list or a single request."""
    try:
        content = msgspec.json.decode(file.read_bytes())
        listed = content if isinstance(content, list) else [content]
        requests = msgspec.convert(listed, list[_StatedRequest])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidGates(
            f'{file}: {error}; expected JSON as [{{"inputs": {{"x": [[1.0]]}}}}]'
        ) from None
    if not requests:
        raise InvalidGates(f"{file}: expected at least one request")
    return requests


def _answered(
    model: str, requests: list[_StatedRequest], number: str, server: str
) -> list[dict[str, Any]]:
    """Return the requests with outputs; raises a RegistryError if the version refuses a request."""
    if all(request.outputs for request in requests):
        return [msgspec.to_builtins(request) for request in requests]
    if server:
        raise InvalidGates("with --server, every request of --add must have outputs")
    from driftline.gates.outputs import ModelRun  # noqa: PLC0415 - ONNX Runtime is slow to import

    registry = Registry(Home.from_environment())
    run = ModelRun(registry.version(model, registry.aliases(model).get(number, number)))
    return [
        {"inputs": request.inputs, "outputs": request.outputs or run.answer(request.inputs)}
        for request in requests
    ]


def _show(requests: list[dict[str, Any]], gate: dict[str, Any]) -> None:
    if not requests:
        click.echo("no golden requests")
        return
    table = table_of("request", "inputs", "outputs")
    for place, request in enumerate(requests, 1):
        table.add_row(
            str(place), plain(_short(request["inputs"])), plain(_short(request["outputs"]))
        )
    from rich.console import Console  # noqa: PLC0415

    Console().print(table)
    if "tolerance" in gate:
        click.echo(f"tolerance {gate['tolerance']:g}")


def _short(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 1]}…"
