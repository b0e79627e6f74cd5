"""Write a complete manifest as YAML with a comment on each field, for its author to edit."""

import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from registry.inference_record import Inference
from registry.manifest import Manifest

_COMMENTS = {
    "task": "classification, regression, or other: outputs are monitored through summaries",
    "description": "for people; shown on the page of the version",
    "features": "columns of inputs: kind numeric or categorical, nullable: may be missing",
    "summaries": "one number for each row of a tensor, monitored like a feature",
    "prediction": "which outputs hold it: label and probabilities, or scores with an activation",
    "target": "the reference's column of labels; empty: none",
    "event_time": "the reference's column of event times, by which seasons are known; empty: none",
    "held_out": "your word that the reference was not trained on: true or false",
    "monitoring": "windows, alarms and methods; `driftline policy` changes them later",
    "payload": "which values are logged, masked or sampled",
    "max_batch_size": "rows of one run at most",
    "max_batch_bytes": "bytes of the inputs of one run at most; one request alone may have more",
    "batching": "auto: where rows are shown to be independent; off; trust",
    "optional_inputs": "inputs with a default value in the file that requests may set",
    "coerce": "convert numbers of another datatype and report it",
    "queue": "limits on waiting requests",
    "cache": "bytes of remembered answers, per worker",
    "session": "how ONNX Runtime runs the model",
}


def manifest_text(manifest: Manifest, inference: Inference) -> str:
    """Return the manifest as YAML; questions come first, reasons with their fields.

    Fields at their defaults are commented out. The signature is left out: it is taken from the ONNX
    file.
    """
    return "".join(_lines(manifest, inference))


def _lines(manifest: Manifest, inference: Inference) -> Iterator[str]:
    yield "# Every field may be left out: registration then infers it, or takes the default.\n"
    for question in inference.questions:
        yield f"# QUESTION: {question}\n"
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    defaults: dict[str, Any] = msgspec.to_builtins(Manifest())
    for name, comment in _COMMENTS.items():
        yield f"\n# {comment}\n"
        if reason := inference.reasons.get(name):
            yield f"# inferred: {reason}\n"
        section = _section(name, fields[name])
        at_default = fields[name] == defaults[name]
        yield textwrap.indent(section, "# ") if at_default else section


def _section(name: str, value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        items = (_flow({k: v for k, v in item.items() if v is not None}) for item in value)
        return f"{name}:\n" + "".join(f"  - {item}\n" for item in items)
    return yaml.safe_dump({name: value}, sort_keys=False, allow_unicode=True, width=100)


def _flow(item: dict[str, Any]) -> str:
    written = yaml.safe_dump(
        item, sort_keys=False, allow_unicode=True, default_flow_style=True, width=10_000
    )
    return written.strip()
