"""The flights example: data, training, export and registration."""

from datetime import datetime

import data
import numpy as np
import onnxruntime
import pandas as pd
import pytest
import train
from sklearn.metrics import roc_auc_score

from registry.manifest import Version
from registry.reference import doubts, load_reference


def test_every_departure_of_the_year_is_included(flights: pd.DataFrame) -> None:
    assert len(flights) == 336_776
    assert flights["late"].isna().mean() == pytest.approx(0.028, abs=5e-4)
    late = flights["late"].fillna(0).groupby(flights["month"]).mean().round(2)
    assert late.tolist()[:6] == [0.23, 0.23, 0.23, 0.28, 0.22, 0.30]
    assert late.tolist()[6:] == [0.31, 0.24, 0.13, 0.17, 0.18, 0.32]


def test_times_are_new_yorks_put_into_utc(flights: pd.DataFrame) -> None:
    scheduled = datetime(2013, 1, 1, 5, 15, tzinfo=data.NEW_YORK)
    assert flights["event_time"].iloc[0] == scheduled.timestamp() * 1e6
    summer = flights.index[flights["month"] == 7][0]
    hour = datetime.fromtimestamp(flights["event_time"][summer] / 1e6, data.NEW_YORK).hour
    assert hour == int(flights["hour"][summer])


def test_an_outcome_is_known_when_the_flight_has_arrived(flights: pd.DataFrame) -> None:
    first = flights.iloc[0]  # took off at 5:17 in New York, at the gate at 8:30 in Houston
    arrived = datetime(2013, 1, 1, 9, 30, tzinfo=data.NEW_YORK)
    assert first["known_at"] == arrived.timestamp() * 1e6
    assert (flights["known_at"].isna() == flights["late"].isna()).all()
    assert (flights["known_at"] > flights["event_time"]).all()


def test_no_feature_is_known_only_after_departure() -> None:
    assert not {"dep_delay", "dep_time", "air_time", "arr_time", "late"} & set(data.FEATURES)


def test_a_missing_category_is_null(flights: pd.DataFrame) -> None:
    assert flights["engine"].isna().sum() == sum(value is None for value in flights["engine"])
    assert flights["engine"].isna().any()


def test_the_reference_is_the_last_three_weeks_of_march(
    flights: pd.DataFrame, version: Version
) -> None:
    reference = load_reference(version)
    times = flights["event_time"]
    held_out = (times >= train.microseconds(train.REFERENCE_STARTS)) & (
        times < train.microseconds(train.TRAFFIC_STARTS)
    )
    assert len(reference) == (held_out & flights["late"].notna()).sum()
    assert set(reference["weekday"]) == set(flights["weekday"])


def test_the_model_takes_one_input_per_feature(version: Version) -> None:
    signature = version.manifest.signature
    assert signature is not None
    assert [spec.name for spec in signature.inputs] == data.FEATURES
    assert {tuple(spec.shape) for spec in signature.inputs} == {(-1, 1)}
    assert [spec.name for spec in signature.outputs] == ["label", "probabilities"]


def test_the_reference_contains_held_out_scores(version: Version) -> None:
    reference = load_reference(version)
    score = roc_auc_score(reference["late"], reference["probability_1"])
    assert 0.68 < score < 0.75
    assert reference["probability_1"].mean() == pytest.approx(reference["late"].mean(), abs=0.03)
    assert doubts(version.manifest, reference) == []


def test_a_category_never_seen_is_answered_like_scikit_learn(flights: pd.DataFrame) -> None:
    known = train.arrived(flights)
    model = train.fit(known.iloc[:5_000])
    strange = train.model_inputs(
        known.iloc[5_000:5_050].assign(dest="XXX", carrier="", age=np.float32("nan"))
    )
    session = onnxruntime.InferenceSession(train.export(model))
    feed = {name: strange[[name]].to_numpy() for name in data.FEATURES}
    (answers,) = session.run(["probabilities"], feed)
    np.testing.assert_allclose(answers, model.predict_proba(strange), atol=1e-5)
