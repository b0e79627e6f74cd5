"""gRPC with our own messages: typed contents and raw contents."""

from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb

from registry.datatypes import NUMPY
from tests.conformance.cases import Case
from tests.conformance.raw_bytes import from_raw, to_raw
from tests.conformance.ways import Endpoint, Refusal, Reply, Way, refusal

_METHOD = "/inference.GRPCInferenceService/ModelInfer"
_CONTENTS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def _message(case: Case, *, raw: bool) -> Any:
    message = pb.ModelInferRequest(model_name=case.model, model_version=case.version, id=case.id)
    for name, value in case.parameters.items():
        field = "int64_param" if isinstance(value, int) else "string_param"
        setattr(message.parameters[name], field, value)
    for output in case.outputs:
        wanted = message.outputs.add(name=output)
        if case.classes:
            wanted.parameters["classification"].int64_param = case.classes
    for tensor in case.inputs:
        added = message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            message.raw_input_contents.append(to_raw(tensor))
            continue
        text = tensor.datatype == "BYTES"
        values = [value.encode() for value in tensor.values] if text else tensor.values
        getattr(added.contents, _CONTENTS.get(tensor.datatype, "fp32_contents")).extend(values)
    return message


def _call(message: Any, at: Endpoint) -> Reply | Refusal:
    with grpc.insecure_channel(at.grpc) as channel:
        infer = channel.unary_unary(_METHOD)
        try:
            reply = pb.ModelInferResponse.FromString(infer(message.SerializeToString(), timeout=30))
        except grpc.RpcError as error:
            return refusal(error.code().name, error.details())
    outputs = {}
    for index, out in enumerate(reply.outputs):
        if reply.raw_output_contents:
            values = from_raw(reply.raw_output_contents[index], out.datatype)
        else:
            plain = list(getattr(out.contents, _CONTENTS[out.datatype]))
            text = out.datatype == "BYTES"
            values = np.array([v.decode() for v in plain] if text else plain, NUMPY[out.datatype])
        outputs[out.name] = values.reshape(tuple(out.shape))
    return Reply(outputs, reply.model_version, reply.id)


def grpc_typed(case: Case, at: Endpoint) -> Reply | Refusal:
    return _call(_message(case, raw=False), at)


def grpc_raw(case: Case, at: Endpoint) -> Reply | Refusal:
    return _call(_message(case, raw=True), at)


def _has_typed_contents(case: Case) -> bool:
    """The protocol has no field for values of FP16."""
    return all(tensor.datatype != "FP16" for tensor in case.inputs)


WAYS = [
    Way("grpc-typed", "grpc", grpc_typed, _has_typed_contents),
    Way("grpc-raw", "grpc", grpc_raw),
]
