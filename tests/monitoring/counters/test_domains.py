"""The reference domain, as read from its Parquet file."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from monitoring.counters.domain_reader import read_domain
from monitoring.counters.plain_values import MISSING, OUTSIDE
from registry.manifest import Feature, Kind, PayloadPolicy, Version
from tests.monitoring.log_in_memory import MANIFEST, VERSION

NAN, INF = math.nan, math.inf


def _version(folder: Path, column: pa.Array, kind: Kind = "numeric", **changes: Any) -> Version:
    table = pa.table({"other": pa.nulls(len(column)), "f": column})
    pq.write_table(table, folder / "reference.parquet", row_group_size=3)
    manifest = replace(MANIFEST, features=[Feature("f", kind, input="f")], **changes)
    return replace(VERSION, manifest=manifest, path=str(folder))


@pytest.mark.parametrize(
    ("reference", "inside", "outside"),
    [
        (pa.array([1.5, NAN, -2.0, None, 4.0], pa.float32()), [-2, 1.5, 4.0], [-2.1, 4.1, INF]),
        (pa.array([3, None, 9, 8, 7, 1], pa.int64()), [1, 9], [0, 10, -INF]),
        (pa.array([1.0, INF, 2.0, -INF, 0.0]), [0, 2], [-1, 3, INF, -INF]),
        (pa.array([NAN, NAN, NAN, NAN, 5.0]), [5], [4, 6]),
        (pa.array([None, None, None, None, 5.0]), [5], [4, 6]),
        (pa.array([NAN, None]), [-1e300, 0, INF], []),
        (pa.array([True, False]), [0, 0.5, True], [2]),
    ],
)
def test_numeric_range_covers_the_finite_numbers_of_all_row_groups(
    tmp_path: Path, reference: pa.Array, inside: list[float], outside: list[float]
) -> None:
    domain = read_domain(_version(tmp_path, reference))
    codes = domain.codes([(value,) for value in [None, NAN, *inside, *outside]])
    assert codes.tolist() == [[MISSING]] * 2 + [[0]] * len(inside) + [[OUTSIDE]] * len(outside)


@pytest.mark.parametrize(
    "reference",
    [pa.array(["1", None, "a", "1", "b"]), pa.array([1.0, NAN, 2.5, None]), pa.array([True, None])],
)
def test_categories_match_the_reference_for_every_storage_type(
    tmp_path: Path, reference: pa.Array
) -> None:
    domain = read_domain(_version(tmp_path, reference, "categorical"))
    codes = domain.codes([(value,) for value in (None, 1, "1", 1.0, "nan", "None")])
    assert codes.tolist() == [[MISSING], [0], [0], [0], [OUTSIDE], [OUTSIDE]]


def test_masked_feature_is_not_checked(tmp_path: Path) -> None:
    hidden = PayloadPolicy({"f": "hmac"})
    domain = read_domain(_version(tmp_path, pa.array([1.0]), payload=hidden))
    assert domain.codes([("hmac:12",), (None,)]).tolist() == [[0], [0]]


def test_unreadable_reference_file_is_an_error(tmp_path: Path) -> None:
    version = _version(tmp_path, pa.array([1.0]))
    (tmp_path / "reference.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(ValueError, match="Parquet"):
        read_domain(version)
