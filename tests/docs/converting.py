"""Train a small model with a library and convert it with the how-to's own code.

    python tests/docs/converting.py LIBRARY FOLDER

leaves model.onnx, and what the library itself answers on rows.npy in answers.npy: probabilities,
or scores. Runs where the library is, which is not where the tests are.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "other-libraries.md"
FEATURES = 4
ROWS = 400


def snippet(library: str) -> str:
    """The first block of Python below the library's heading."""
    section = re.split(rf"^## {library}$", PAGE.read_text(), flags=re.MULTILINE)[1]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def data() -> tuple[Any, Any]:
    """Rows and their class, which follows from a sum and a product of columns."""
    random = np.random.default_rng(3)
    rows = random.normal(size=(ROWS, FEATURES)).astype(np.float32)
    return rows, (rows[:, 0] + rows[:, 1] * rows[:, 2] > 0).astype(np.int64)


def xgboost(rows: Any, truth: Any) -> tuple[Any, Any]:
    """A classifier and its probabilities."""
    from xgboost import XGBClassifier  # noqa: PLC0415

    model = XGBClassifier(n_estimators=20, max_depth=3).fit(rows, truth)
    return model, model.predict_proba(rows)


def lightgbm(rows: Any, truth: Any) -> tuple[Any, Any]:
    """A classifier and its probabilities."""
    from lightgbm import LGBMClassifier  # noqa: PLC0415

    model = LGBMClassifier(n_estimators=20, verbose=-1).fit(rows, truth)
    return model, model.predict_proba(rows)


def pytorch(rows: Any, _truth: Any) -> tuple[Any, Any]:
    """An untrained network and its scores, which serve as well."""
    import torch  # noqa: PLC0415

    torch.manual_seed(3)
    model = torch.nn.Sequential(
        torch.nn.Linear(FEATURES, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)
    )
    return model, model(torch.from_numpy(rows)).detach().numpy()


MODELS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    "XGBoost": xgboost,
    "LightGBM": lightgbm,
    "PyTorch": pytorch,
}


def main(library: str, folder: Path) -> None:
    """Train, convert, and keep what the library answers."""
    rows, truth = data()
    model, answers = MODELS[library](rows, truth)
    names: dict[str, Any] = {"model": model, "features": FEATURES, "folder": folder}
    exec(snippet(library).replace('"model.onnx"', 'f"{folder}/model.onnx"'), names)
    if "exported" in names:
        (folder / "model.onnx").write_bytes(names["exported"].SerializeToString())
    np.save(folder / "rows.npy", rows)
    np.save(folder / "answers.npy", answers)
    print(f"{library}: converted by the code of {PAGE.name}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
