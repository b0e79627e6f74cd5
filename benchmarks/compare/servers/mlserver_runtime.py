"""Serve with MLServer and a custom runtime, as in its documentation."""

import os

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    """Serve the model by the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the model."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["COMPARE_MODEL"], options, providers=["CPUExecutionProvider"]
        )
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return both outputs."""
        rows = NumpyCodec.decode_input(payload.inputs[0])
        names = ["label", "probabilities"]
        outputs = self._session.run(names, {"x": rows})
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                NumpyCodec.encode_output(name, output)
                for name, output in zip(names, outputs, strict=True)
            ],
        )
