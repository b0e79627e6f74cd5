"""Serve with LitServe and batching, as in its documentation."""

import os
import sys
from typing import Any

import litserve
import numpy as np
import onnxruntime


class Forest(litserve.LitAPI):
    """Serve the model at `POST /predict`."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Load the model once per worker."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            os.environ["COMPARE_MODEL"], options, providers=["CPUExecutionProvider"]
        )

    def decode_request(self, request: dict[str, Any]) -> Any:
        """Return the rows of one request."""
        return np.array(request["x"], np.float32)

    def batch(self, inputs: list[Any]) -> tuple[Any, list[int]]:
        """Concatenate the rows of several requests; return them and the split points."""
        return np.concatenate(inputs), list(np.cumsum([len(rows) for rows in inputs])[:-1])

    def predict(self, x: tuple[Any, list[int]]) -> tuple[Any, list[int]]:
        """Return the probabilities of all rows."""
        rows, ends = x
        return self._session.run(["probabilities"], {"x": rows})[0], ends

    def unbatch(self, output: tuple[Any, list[int]]) -> list[Any]:
        """Return the probabilities of each request."""
        return list(np.split(*output))

    def encode_response(self, output: Any) -> dict[str, Any]:
        """Return the response as JSON."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Forest(max_batch_size=64, batch_timeout=0.001), accelerator="cpu", timeout=60
    )
    server.run(
        host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning"
    )
