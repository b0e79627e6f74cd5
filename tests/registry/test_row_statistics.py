"""Statistics of rows do not depend on the division into blocks."""

import numpy as np
import pytest

from registry.row_statistics import number_statistics

WANTED = {"mean", "std", "l2_norm", "min", "max", "zero_share", "nan_share"}


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("width", [5, 8_191, 8_192, 8_193, 16_384, 50_176, 131_073])
@pytest.mark.parametrize("spoiled", [False, True])
def test_statistics_of_rows_of_every_width_equal_numpys(
    rows: int, width: int, spoiled: bool
) -> None:
    values = np.random.default_rng(width).normal(100, 5, (rows, width)).astype(np.float32)
    values[:, ::4] = 0.0
    if spoiled:
        values[-1, 1:4] = [np.nan, np.inf, 3e38]  # whose square is no float32
    found = number_statistics(values, WANTED)
    for row in range(rows):
        finite = values[row][np.isfinite(values[row])].astype(np.float64)
        expected = {
            "mean": finite.mean(),
            "std": finite.std(),
            "l2_norm": np.sqrt((finite**2).sum()),
            "min": finite.min(),
            "max": finite.max(),
            "zero_share": (values[row] == 0).mean(),
            "nan_share": 1 - finite.size / width,
        }
        for name, value in expected.items():
            assert found[name][row] == pytest.approx(value, rel=1e-5, abs=1e-12), name
