"""The training rows: rows that a retraining request offers, and older rows of the example's table.

A request offers the logged rows of the version with the alarm, with labels and weights. Older rows
are read from the example's table.
"""

import io
from typing import Any

import httpx
import numpy as np
import pandas as pd
from data import CATEGORICAL, FEATURES, NUMERIC, TARGET

WEEK = 7 * 86_400 * 1_000_000  # microseconds: the length of a window
WEIGHT = "row_weight"
_TIMEOUT_S = 120.0


class UnfitRows(Exception):
    """The monitor's validation of the rows failed."""


def read_offered(request: dict[str, Any]) -> pd.DataFrame | None:
    """Read the labelled rows that a request offers; return None if there are no rows.

    The rows have the features, the target, a weight, and the start of their window as event time.
    Raises UnfitRows if their validation failed.
    """
    links = request["data"]
    with httpx.Client(trust_env=False, timeout=_TIMEOUT_S) as client:
        report = client.get(links["validation_url"])
        if report.status_code == httpx.codes.GONE:  # retention has deleted the rows
            return None
        validation = report.raise_for_status().json()
        if validation["state"] == "failed":
            worst = validation["findings"][0]
            raise UnfitRows(f"{worst['check']} {worst.get('feature', '')}: {worst['message']}")
        content = client.get(links["training_url"]).raise_for_status().content
    rows = pd.read_parquet(io.BytesIO(content)).rename(
        columns={
            validation["label"]: TARGET,
            validation["weight"]: WEIGHT,
            "window_start": "event_time",
        }
    )
    rows = rows.loc[rows[TARGET].notna(), [*FEATURES, TARGET, "event_time", WEIGHT]]
    categories = {name: rows[name].replace("", None).astype(object) for name in CATEGORICAL}
    types = {**dict.fromkeys(NUMERIC, "float32"), TARGET: "int64"}
    return rows.assign(**categories).astype(types)


def complete(offered: pd.DataFrame | None, own: pd.DataFrame) -> pd.DataFrame:
    """Return the offered rows, and own rows of the other weeks, in time order."""
    own = own[[*FEATURES, TARGET, "event_time"]].assign(**{WEIGHT: 1.0})
    if offered is None or offered.empty:
        return own
    starts = offered["event_time"].unique()
    offset = int(starts[0]) % WEEK
    weeks = (own["event_time"] - offset) // WEEK * WEEK + offset
    older = own[~np.isin(weeks, starts)]
    return pd.concat([older, offered]).sort_values("event_time", kind="stable", ignore_index=True)
