"""Serve with BentoML and one batchable method, as in its documentation."""

import os
from typing import Annotated

import bentoml
import numpy as np
import onnxruntime
from bentoml.validators import DType

Rows = Annotated[np.ndarray, DType("float32")]


@bentoml.service(traffic={"timeout": 60})
class Stock:
    """Serve the model at `POST /predict`."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["COMPARE_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    @bentoml.api(batchable=True, max_batch_size=256, max_latency_ms=60_000)
    def predict(self, x: Rows) -> np.ndarray:
        """Return the probabilities of each row."""
        (probabilities,) = self._session.run(["probabilities"], {"x": x})
        return np.asarray(probabilities)
