"""Read the gates of a release policy from a file, check them, and append them to the history."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec.structs import replace

from registry.errors import InvalidGates, InvalidPolicy, VersionRefused
from registry.gates.stated_gates import meant, read_gates
from registry.history.lifecycle import LifecycleState
from registry.history.rows import (
    ApprovalRule,
    HistoryRow,
    ReleasePolicy,
    RolloutPlan,
    VerdictPolicy,
    encode_detail,
)
from registry.history.store import History
from registry.names import require_alias
from registry.rollout_start import require_plan
from registry.yaml_text import parse_yaml

_FIELDS = ["gates", "on_register"]
_LARGEST = 1 << 20  # bytes of all gates, golden requests included


class GateFile(msgspec.Struct, frozen=True):
    """The contents of a gate file."""

    gates: dict[str, Any]
    on_register: Any = ""


def read_gate_file(path: Path) -> GateFile:
    """Read `gates:` and `on_register:` from YAML; raises InvalidGates.

    If a gate has `requests: FILE`, the content of that JSON or YAML file replaces the name.
    """
    content = _read(path)
    if not isinstance(content, dict) or "gates" not in content:
        raise InvalidGates(f"{path}: expected gates: {{NAME: {{kind: ...}}}}")
    for field in content:
        if field not in _FIELDS:
            raise InvalidGates(f"{path}: unknown field {field!r}{meant(field, _FIELDS)}")
    if content.get("on_register", "") not in {"", "run"}:
        raise InvalidGates(f"{path}: on_register is {content['on_register']!r}; expected run")
    if not isinstance(content["gates"], dict):
        raise InvalidGates(f"{path}: gates: expected NAME: {{kind: ...}}")
    gates = {str(name): _with_requests(path, gate) for name, gate in content["gates"].items()}
    check_gates(gates, f"{path}: ")
    return GateFile(gates, content.get("on_register", ""))


def read_release_policy(place: str, content: Any) -> ReleasePolicy:
    """Read a release policy; raises InvalidPolicy or InvalidGates with the prefix `place`."""
    try:
        policy = msgspec.convert(content, ReleasePolicy)
    except msgspec.ValidationError as error:
        raise InvalidPolicy(f"{place}: {error}; expected gates and approvals") from None
    _require_fields(place, content, ReleasePolicy)
    for alias, rule in content.get("approvals", {}).items():
        require_alias(alias)
        _require_fields(f"{place}: approvals of {alias}", rule, ApprovalRule)
    if "rollout" in content:
        _require_fields(f"{place}: rollout", content["rollout"], RolloutPlan)
        verdict = content["rollout"].get("verdict", {})
        _require_fields(f"{place}: rollout: verdict", verdict, VerdictPolicy)
    try:
        require_plan(policy.rollout)
    except VersionRefused as error:
        raise InvalidPolicy(f"{place}: rollout: {error}") from None
    check_gates(policy.gates, f"{place}: ")
    return policy


def _require_fields(place: str, content: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    """Refuse misspelt fields, which msgspec ignores because newer releases can add fields."""
    field_names = [field.encode_name for field in msgspec.structs.fields(kind)]
    if unknown := sorted(set(content) - set(field_names)):
        raise InvalidPolicy(f"{place}: no field {unknown[0]!r}; expected {', '.join(field_names)}")


def check_gates(gates: Mapping[str, Any], place: str = "") -> None:
    """Raise InvalidGates if gates are invalid, or too large for a row of the history."""
    try:
        read_gates(gates)
        size = len(msgspec.json.encode(gates))
    except (InvalidGates, TypeError) as error:
        raise InvalidGates(f"{place}{error}") from None
    if size > _LARGEST:
        raise InvalidGates(f"{place}the gates have {size:,} bytes; expected at most {_LARGEST:,}")


def set_gates(  # noqa: PLR0913  # one argument per field of a row
    history: History,
    model: str,
    gate_file: GateFile,
    *,
    actor: str,
    why: str,
    clock: Callable[[], int] | None = None,
) -> int:
    """Replace the gates of a model's release policy without changing its approvals."""

    def decide(state: LifecycleState) -> list[HistoryRow]:
        policy: ReleasePolicy = replace(
            state.policy, gates=gate_file.gates, on_register=gate_file.on_register
        )
        now, detail = (clock or history.time_ns)() // 1_000, encode_detail(policy)
        return [HistoryRow(0, model, "release_policy", "", now, actor, detail=detail, why=why)]

    return history.append(model, decide)


def _with_requests(path: Path, gate: Any) -> Any:
    if not isinstance(gate, dict) or not isinstance(gate.get("requests"), str):
        return gate
    return gate | {"requests": _read(path.parent / gate["requests"])}


def _read(path: Path) -> Any:
    try:
        # Convert to JSON types, as the row will contain them: keys and dates become text.
        return msgspec.json.decode(msgspec.json.encode(parse_yaml(path.read_bytes())))
    except (TypeError, ValueError) as error:  # not text, or types that JSON does not have
        raise InvalidGates(f"{path}: {error}") from None
    except OSError as error:
        raise InvalidGates(f"{path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise InvalidGates(f"{path} is not YAML: {' '.join(str(error).split())}") from None
