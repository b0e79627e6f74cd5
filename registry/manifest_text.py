"""Format a complete manifest as YAML, with a comment on each field, for its author to edit."""

import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec
import yaml

from registry.inference_record import Inference
from registry.manifest import Manifest

_COMMENTS = {
    "task": "classification, regression, or other: outputs are monitored through summaries",
    "description": "text for people; shown on the page of the version",
    "features": "columns of inputs: kind numeric or categorical; nullable: values can be missing",
    "summaries": "one number for each row of a tensor, monitored like a feature",
    "prediction": "outputs: label and probabilities, or scores with an activation",
    "target": "column of the reference with labels, or empty",
    "event_time": "column of the reference with event times, which show seasons, or empty",
    "held_out": "true if the model was not trained on the reference, else false",
    "monitoring": "windows, alarms and methods; `driftline policy` changes them later",
    "payload": "which values are logged, masked or sampled",
    "max_batch_size": "largest number of rows in one run",
    "max_batch_bytes": "largest size of the inputs of one run; a single request can have more",
    "batching": "auto: only if a test shows that rows are independent; off; trust",
    "optional_inputs": "inputs with a default value in the file that requests can set",
    "coerce": "convert numbers of another datatype and report it",
    "queue": "limits on queued requests",
    "cache": "bytes of cached outputs, per worker",
    "session": "how ONNX Runtime runs the model",
}


def manifest_text(manifest: Manifest, inference: Inference) -> str:
    """Return the manifest as YAML, with questions first and reasons next to their fields.

    Fields at their defaults are commented out. The signature is omitted, because registration reads
    it from the ONNX file.
    """
    return "".join(_lines(manifest, inference))


def _lines(manifest: Manifest, inference: Inference) -> Iterator[str]:
    yield "# Every field can be omitted: registration then infers it, or uses the default.\n"
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
