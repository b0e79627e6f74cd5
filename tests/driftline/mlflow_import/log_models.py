"""Log models with MLflow's own library: `log_models.py TRACKING_URI`, in its environment."""

import sys
from typing import Any

import mlflow
import mlflow.onnx
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression


def main() -> None:
    """Log two versions of `late`, an ONNX file, and one of `pickled`; print the run of the last."""
    mlflow.set_tracking_uri(sys.argv[1])
    rows = pd.DataFrame({"distance": [1.0, 2.0, 3.0, 4.0], "wind": [0.0, 1.0, 0.0, 1.0]})
    model: Any = LogisticRegression().fit(rows, [0, 0, 1, 1])
    exported = to_onnx(
        model, rows.to_numpy().astype("float32"), options={"zipmap": False},
        target_opset={"": 15, "ai.onnx.ml": 3},
    )  # fmt: skip
    signature = infer_signature(rows, model.predict(rows))
    for attempt in range(2):
        exported.doc_string = f"attempt {attempt}"
        with mlflow.start_run():
            mlflow.log_input(mlflow.data.from_pandas(rows, name="flights"))
            mlflow.onnx.log_model(
                exported, name="model", registered_model_name="late", signature=signature,
                input_example=rows.head(2),
            )  # fmt: skip
    with mlflow.start_run() as run:
        mlflow.sklearn.log_model(
            model, name="model", registered_model_name="pickled", input_example=rows.head(2),
            serialization_format="cloudpickle",
        )  # fmt: skip
        mlflow.onnx.log_model(exported, name="loose")
    client = mlflow.MlflowClient()
    client.set_registered_model_alias("late", "champion", "1")
    client.set_model_version_tag("late", "1", "team", "delays")
    client.update_model_version("late", "1", "a first try")
    print(run.info.run_id)


if __name__ == "__main__":
    main()
