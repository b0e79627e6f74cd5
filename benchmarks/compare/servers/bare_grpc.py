"""Serve with a bare grpc.aio handler, the lower bound of gRPC, with raw contents."""

import os
import sys

import grpc
import numpy as np
import onnxruntime
import uvloop

from service.protocol import open_inference_pb2 as pb

_options = onnxruntime.SessionOptions()
_options.intra_op_num_threads = 1
_session = onnxruntime.InferenceSession(
    os.environ["COMPARE_MODEL"], _options, providers=["CPUExecutionProvider"]
)


async def infer(
    request: pb.ModelInferRequest, _: grpc.aio.ServicerContext
) -> pb.ModelInferResponse:
    """Return the model's outputs."""
    (tensor,) = request.inputs
    data = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tensor.shape)
    label, probabilities = _session.run(None, {tensor.name: data})
    response = pb.ModelInferResponse(model_name="bare", model_version="1")
    response.outputs.add(name="label", datatype="INT64", shape=label.shape)
    response.outputs.add(name="probabilities", datatype="FP32", shape=probabilities.shape)
    response.raw_output_contents.extend((label.tobytes(), probabilities.tobytes()))
    return response


async def main(port: int) -> None:
    """Serve until the process is stopped."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1)])
    handler = grpc.unary_unary_rpc_method_handler(
        infer,
        request_deserializer=pb.ModelInferRequest.FromString,
        response_serializer=pb.ModelInferResponse.SerializeToString,
    )
    methods = {"ModelInfer": handler}
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("inference.GRPCInferenceService", methods),)
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
