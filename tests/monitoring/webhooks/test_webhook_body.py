import jsonschema
import msgspec

from eventlog.log import Position
from monitoring.results import RetrainRequest, Score, Window
from monitoring.webhooks.body import envelope, read_retrain_request, trial
from monitoring.webhooks.schema import PAGE, retrain_request_schema

REQUEST = RetrainRequest(
    model="flights",
    version="1",
    digest="abc",
    alarm_id="alarm-1",
    rule="drift",
    reason="9 of 20 columns drifted since 1 Jul",
    columns=[Score(name="drift", value=0.31, column="dep_hour", threshold=0.1, breached=True)],
    window=Window(start=1_372_636_800_000_000, end=1_373_241_600_000_000),
    positions={"b-0": Position(epoch=2, sequence=40), "a-0": Position(epoch=1, sequence=7)},
    rows_url="http://127.0.0.1:3100/api/models/flights/versions/1/windows/1372636800000000/rows.parquet",
    register_hint="driftline register model.onnx --name flights",
)
GOLDEN = (
    b'{"specversion":"1.0","id":"msg-1","source":"/driftline/monitoring",'
    b'"type":"driftline.retrain.requested.v1","time":"2013-07-09T12:00:00.500000Z",'
    b'"datacontenttype":"application/json","data":{"model":"flights","version":"1",'
    b'"digest":"abc","alarm_id":"alarm-1","rule":"drift",'
    b'"reason":"9 of 20 columns drifted since 1 Jul","columns":[{"name":"drift","value":0.31,'
    b'"column":"dep_hour","method":"","threshold":0.1,"breached":true,"note":"",'
    b'"low":null,"high":null,"segment":""}],'
    b'"window":{"start":1372636800000000,"end":1373241600000000},'
    b'"positions":{"a-0":{"epoch":1,"sequence":7},"b-0":{"epoch":2,"sequence":40}},'
    b'"rows_url":"http://127.0.0.1:3100/api/models/flights/versions/1/windows/1372636800000000/'
    b'rows.parquet","register_hint":"driftline register model.onnx --name flights"}}'
)


def test_retrain_request_body_is_stable_to_the_byte() -> None:
    assert envelope("msg-1", 1_373_371_200_500_000, REQUEST) == GOLDEN


def test_body_does_not_depend_on_the_order_of_sources() -> None:
    turned = msgspec.structs.replace(
        REQUEST, positions=dict(reversed(list(REQUEST.positions.items())))
    )
    assert envelope("m", 0, turned) == envelope("m", 0, REQUEST)


def test_retrain_request_is_read_back_from_its_body() -> None:
    assert read_retrain_request(envelope("m", 0, REQUEST)) == REQUEST


def test_trial_and_foreign_bytes_contain_no_request() -> None:
    assert read_retrain_request(trial("m", 0)) is None
    assert read_retrain_request(b"not json") is None
    assert read_retrain_request(b'{"type":"driftline.retrain.requested.v1"}') is None


def test_retrain_requests_match_the_published_schema() -> None:
    published = PAGE.read_bytes()
    assert published == retrain_request_schema(), "run python -m monitoring.webhooks.schema"
    check = jsonschema.Draft202012Validator(msgspec.json.decode(published))
    scheduled = msgspec.structs.replace(
        REQUEST, alarm_id="", window=None, rule="schedule", columns=[], due=1
    )
    for request in (REQUEST, scheduled):
        check.validate(msgspec.json.decode(envelope("m", 0, request)))
    broken = msgspec.json.decode(envelope("m", 0, scheduled))
    del broken["data"]["reason"]
    assert not check.is_valid(broken)
