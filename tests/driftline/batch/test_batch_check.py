"""Rows unlike the reference are reported before anything is predicted."""

from pathlib import Path

import pytest

from driftline.batch.command import BatchRequest, run_job
from driftline.batch.errors import BatchError
from eventlog.settings import Home
from tests.driftline.batch.conftest import rows_of, write


def _request(source: Path, check: str, unseen: float = 0.02) -> BatchRequest:
    output = str(source.with_name("out.csv"))
    return BatchRequest(
        model="tiny", source=str(source), output=output, chunk=40, check=check, unseen=unseen
    )  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_check_refuses_or_warns_about_rows_unlike_the_reference(
    home: Home, tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    frame = rows_of(100)
    frame["price"] = frame["price"].clip(-1.5, 1.5)
    frame.loc[:9, "price"] = [50.0 + n for n in range(10)]
    frame.loc[90:, "colour"] = ["green"] * 6 + ["grey"] * 4
    frame.loc[50, "price"] = -99.0
    source = write(frame, tmp_path / f"in{suffix}")
    with pytest.raises(BatchError) as refused:
        run_job(_request(source, "refuse"), quiet=True)
    message = str(refused.value)
    assert "price: 11 rows (11.00%) outside the reference's range" in message
    assert ": -99 to 59" in message
    assert "colour: 10 rows (10.00%) with values that the reference lacks: 'green', 'grey'" in (
        message
    )
    assert not source.with_name("out.csv").exists()
    run_job(_request(source, "warn"), quiet=True)
    assert "price: 11 rows" in capsys.readouterr().err
    assert source.with_name("out.csv").exists()
    run_job(_request(source, "refuse", unseen=0.11), quiet=True)
    assert "100 rows agree with the reference" in capsys.readouterr().err


def test_rejected_rows_are_part_of_the_check(home: Home, tmp_path: Path) -> None:
    frame = rows_of(50).astype({"price": str})
    frame.loc[:4, "price"] = "dear"
    source = write(frame, tmp_path / "in.csv")
    with pytest.raises(BatchError, match=r"5 rows \(10.00%\) do not fit the model's features"):
        run_job(_request(source, "refuse", unseen=0.05), quiet=True)
