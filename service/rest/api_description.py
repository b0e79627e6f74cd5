"""Describe the service's REST API as an OpenAPI document, served at `/docs.json`."""

from functools import cache
from typing import Any, Literal

import msgspec

from access.openapi import Operation, describe_api
from registry.datatypes import NUMPY
from service.auth.rules import ROUTES
from service.models.configuration import ModelConfiguration
from service.models.metadata import VERSION, ModelMetadata, ServerMetadata
from service.models.repository import IndexEntry
from service.protocol.feedback import LONGEST_LABEL, MOST_LABELS
from service.telemetry.statistics import ModelStatistics

_ABOUT = (
    "Open Inference Protocol over REST, with named features and feedback. The reference is "
    "docs/protocol.md. Inference also accepts raw tensors, by the protocol's binary extension."
)

_Value = dict[str, Any]


class Live(msgspec.Struct):
    """Whether the process is alive."""

    live: bool


class Ready(msgspec.Struct):
    """Whether inference requests are answered; if not, `reason` states why."""

    ready: bool
    reason: str = ""


class ModelReady(msgspec.Struct):
    """Whether a model or version is ready; if not, `reason` states why."""

    name: str
    ready: bool
    reason: str = ""


class StatisticsReply(msgspec.Struct):
    """Statistics of the worker that answers."""

    model_stats: list[ModelStatistics]


class Accepted(msgspec.Struct):
    """The number of logged labels."""

    accepted: int


_NAME: _Value = {"type": "string", "minLength": 1}
_NUMBER_OR_TEXT: _Value = {"type": ["string", "integer", "null"]}
_PARAMETERS: _Value = {
    "type": ["object", "null"],
    "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
}
_DATATYPE: _Value = {"type": "string", "enum": sorted(NUMPY)}
_SHAPE: _Value = {"type": "array", "items": {"type": "integer", "minimum": 0}}
_INPUT: _Value = {
    "title": "InputTensor",
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": _NAME,
        "shape": _SHAPE,
        "datatype": _DATATYPE,
        "data": {"type": "array", "description": "A flat list, or lists nested like the shape."},
        "parameters": _PARAMETERS,
    },
}
_OUTPUT: _Value = {
    "title": "RequestedOutput",
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _NAME,
        "parameters": {
            "type": ["object", "null"],
            "properties": {
                "binary_data": {"type": ["boolean", "null"]},
                "classification": {"type": ["integer", "null"]},
            },
        },
    },
}
_INFERENCE: _Value = {
    "title": "InferenceRequest",
    "type": "object",
    "required": ["inputs"],
    "properties": {
        "id": {"type": ["string", "null"], "description": "Repeated in the reply and logged."},
        "inputs": {"type": "array", "items": _INPUT},
        "outputs": {"type": ["array", "null"], "items": _OUTPUT},
        "parameters": _PARAMETERS,
    },
}
_INFERENCE_REPLY: _Value = {
    "title": "InferenceReply",
    "type": "object",
    "required": ["model_name", "model_version", "outputs"],
    "properties": {
        "model_name": {"type": "string"},
        "model_version": {"type": "string"},
        "id": {"type": "string"},
        "parameters": {"type": "object"},
        "outputs": {
            "type": "array",
            "items": {**_INPUT, "title": "OutputTensor"},
        },
    },
}
_ROW_PREDICTION: _Value = {
    "title": "Prediction",
    "type": "object",
    "required": ["label", "probabilities"],
    "properties": {
        "label": {"type": ["string", "number", "boolean", "null"]},
        "probabilities": {
            "type": "object",
            "additionalProperties": {"type": "number"},
            "description": "By class; empty for a regression.",
        },
    },
}
_PREDICTIONS: _Value = {
    "title": "PredictReply",
    "type": "object",
    "required": ["model", "version", "prediction_id", "predictions"],
    "properties": {
        "model": {"type": "string"},
        "version": {"type": "string"},
        "prediction_id": {"type": "string", "description": "Id for feedback."},
        "predictions": {"type": "array", "items": _ROW_PREDICTION},
    },
}
_ROWS: _Value = {
    "title": "PredictRequest",
    "type": "object",
    "additionalProperties": False,
    "required": ["model", "rows"],
    "properties": {
        "model": _NAME,
        "rows": {
            "type": "array",
            "items": {"type": "object", "description": "Values by feature name."},
        },
        "version": {**_NUMBER_OR_TEXT, "description": "Number or alias; default: the champion."},
        "event_time": {
            **_NUMBER_OR_TEXT,
            "description": "RFC 3339, or microseconds since 1970; default: now.",
        },
        "request_id": {**_NUMBER_OR_TEXT, "description": "The caller's own id, for feedback."},
        "routing_key": {**_NUMBER_OR_TEXT, "description": "Determines the arm of a rollout."},
    },
}
_LABEL: _Value = {
    "title": "Label",
    "type": ["string", "number", "boolean"],
    "maxLength": LONGEST_LABEL,
}
_FEEDBACK_ITEM: _Value = {
    "title": "FeedbackItem",
    "type": "object",
    "additionalProperties": False,
    "description": (
        "Either `prediction_id`, or `model` and `request_id`. Either `label` for one row, or "
        "`labels` for consecutive rows; `row` is the first."
    ),
    "properties": {
        "prediction_id": {"type": ["string", "null"]},
        "model": {"type": ["string", "null"]},
        "request_id": _NUMBER_OR_TEXT,
        "label": _LABEL,
        "labels": {"type": ["array", "null"], "items": _LABEL, "maxItems": MOST_LABELS},
        "row": {"type": ["integer", "null"], "minimum": 0},
        "event_time": _NUMBER_OR_TEXT,
        "load_test": {"type": ["boolean", "null"]},
    },
}
_FEEDBACK: _Value = {
    "title": "FeedbackRequest",
    "oneOf": [_FEEDBACK_ITEM, {"type": "array", "items": _FEEDBACK_ITEM, "maxItems": MOST_LABELS}],
}
_INDEX: _Value = {"type": "object", "properties": {"ready": {"type": ["boolean", "null"]}}}
_CHANGE: _Value = {"type": "object", "properties": {"parameters": _PARAMETERS}}

_MODEL, _VERSION = "/v2/models/{model}", "/v2/models/{model}/versions/{version}"
_REPLY_HEADERS = {
    "driftline-version": "The version that answered.",
    "driftline-prediction-id": "The prediction id of the logged event.",
}
_ROUTING = {"driftline-routing-key": {"type": "string"}, "traceparent": {"type": "string"}}
_TENSOR_EXAMPLE = {
    "inputs": [{"name": "x", "shape": [2, 1], "datatype": "FP32", "data": [0.5, 1.5]}]
}
_ROWS_EXAMPLE = {"model": "flights", "rows": [{"carrier": "UA", "dep_delay": 12}]}

Tag = Literal["health", "models", "inference", "feedback", "repository", "operation"]


def _get(path: str, tag: Tag, summary: str, reply: Any, **more: Any) -> Operation:
    return Operation(summary=summary, tag=tag, scope=ROUTES[path].scope, reply=reply, **more)


def _post(path: str, tag: Tag, summary: str, reply: Any, body: Any, **more: Any) -> Operation:
    return Operation(
        summary=summary, tag=tag, scope=ROUTES[path].scope, method="post", reply=reply, body=body,
        **more,
    )  # fmt: skip


def _of_model(summary: str, reply: Any, suffix: str = "", tag: Tag = "models") -> dict[str, Any]:
    """Describe a route twice: for a model, and for one version of it."""
    return {
        f"{path}{suffix}": [_get(f"{path}{suffix}", tag, summary, reply)]
        for path in (_MODEL, _VERSION)
    }


def _inference() -> dict[str, Any]:
    return {
        path: [
            _post(
                path, "inference", "Predict for tensors", _INFERENCE_REPLY, _INFERENCE,
                examples={"tensors": _TENSOR_EXAMPLE}, headers=_ROUTING,
                reply_headers=_REPLY_HEADERS,
            )
        ]
        for path in (f"{_MODEL}/infer", f"{_VERSION}/infer")
    }  # fmt: skip


def _ready(path: str, reply: Any, summary: str) -> dict[str, Any]:
    return {path: [_get(path, "health", summary, reply, other_replies={503: reply})]}


def _change(action: str) -> dict[str, Any]:
    path = f"/v2/repository/models/{{model}}/{action}"
    summary = f"{action.capitalize()} a model, or the version in `parameters`"
    return {path: [_post(path, "repository", summary, None, _CHANGE, body_required=False)]}


def _routes() -> dict[str, list[Operation]]:
    probes = {
        path: [_get(path, "health", "Probe", {"type": "string"}, media_type="text/plain")]
        for path in ("/livez", "/healthz", "/readyz")
    }
    feedback, index = "/v1/feedback", "/v2/repository/index"
    return {
        "/predict": [
            _post(
                "/predict", "inference", "Predict for rows of named features", _PREDICTIONS, _ROWS,
                examples={"rows": _ROWS_EXAMPLE}, headers=_ROUTING, reply_headers=_REPLY_HEADERS,
            )
        ],
        feedback: [
            _post(
                feedback, "feedback", "Log labels of earlier predictions", Accepted, _FEEDBACK,
                examples={
                    "one": {"prediction_id": "4f1…", "label": 1},
                    "many": [{"model": "flights", "request_id": "17", "labels": [0, 1]}],
                },
            )
        ],
        **_inference(),
        "/v2": [_get("/v2", "models", "Name, version and extensions", ServerMetadata)],
        **_of_model("Inputs, outputs and versions of a model", ModelMetadata),
        **_of_model("Configuration in Triton's format", ModelConfiguration, "/config"),
        "/v2/models/stats": [
            _get("/v2/models/stats", "operation", "Statistics of all models", StatisticsReply)
        ],
        **_of_model("Statistics of a model", StatisticsReply, "/stats", "operation"),
        "/v2/health/live": [_get("/v2/health/live", "health", "Process liveness", Live)],
        **_ready("/v2/health/ready", Ready, "Whether inference is ready"),
        **_ready(f"{_MODEL}/ready", ModelReady, "Whether a model is ready"),
        **_ready(f"{_VERSION}/ready", ModelReady, "Whether a version is ready"),
        **probes,
        index: [
            _post(
                index, "repository", "All versions and their states", list[IndexEntry], _INDEX,
                body_required=False,
            )
        ],
        **_change("load"),
        **_change("unload"),
        "/metrics": [
            _get(
                "/metrics", "operation", "Metrics for Prometheus", {"type": "string"},
                media_type="text/plain",
            )
        ],
    }  # fmt: skip


@cache
def describe() -> dict[str, Any]:
    """Return the document; it has every path of `ROUTES` except the HTML pages."""
    return describe_api("Driftline", VERSION, _ABOUT, _routes())
