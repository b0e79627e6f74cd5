"""What is registered with a version: everything that serving and monitoring know about it.

The user writes a YAML file of this shape, or none; `register` completes what the ONNX file and the
reference say (signature, feature inputs, summaries) and refuses what does not agree with them.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventlog.events import Label

Task = Literal["classification", "regression", "other"]  # other: outputs are only summarized
Kind = Literal["numeric", "categorical"]


class TensorSpec(msgspec.Struct, frozen=True):
    """Name, Open Inference Protocol datatype and shape of one tensor; -1 is a free dimension."""

    name: str
    datatype: str
    shape: list[int]


class Signature(msgspec.Struct, frozen=True):
    """The input and output tensors of a version, in the ONNX file's order."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One named feature and where it goes: column `index` of input `input`."""

    name: str
    kind: Kind
    nullable: bool = False  # whether NaN (numeric) or null (categorical, sent as "") is allowed
    input: str = ""  # defaults to the input named like the feature
    index: Annotated[int, Meta(ge=0)] = 0
    monitor: bool = True  # False: served and logged, but in no drift and no data quality


Statistic = Literal[
    "mean",  # of the finite values of one row, like the four that follow
    "std",
    "min",
    "max",
    "l2_norm",
    "zero_share",
    "nan_share",  # NaN and infinities among the values
    "length",  # characters of a text, bytes of a payload, or elements of a row
    "word_count",
    "non_ascii_share",
    "empty",  # 1 where the text is empty, else 0
    "projection",  # of a vector onto one fixed direction, by `index`
]


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number for each row of a tensor, computed for every request and monitored as a column."""

    name: str
    tensor: str  # an input or output
    statistic: Statistic
    # Of an image [N, C, H, W]: its channel; of a projection: which direction; else the whole row.
    index: Annotated[int, Meta(ge=0)] | None = None


Activation = Literal["none", "softmax", "sigmoid"]


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which outputs hold the prediction; none of them for task: other.

    Classification: `label` [N] and, where there is one, `probabilities` [N, classes] in the order
    of `classes`; or `scores` [N, classes], from which `activation` makes the probabilities and the
    label. With sigmoid every class is a label of its own. Regression: `label` holds the predicted
    number, [N] or [N, 1].
    """

    label: str = ""
    probabilities: str = ""
    classes: list[Label] = []
    positive: Label | None = None  # the class whose probability is the score of a binary model
    scores: str = ""  # instead of label and probabilities: raw scores, [N, classes]
    activation: Activation = "none"


class WindowPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Event-time windows by time, by rows, or by whichever comes first; durations in seconds."""

    # A window ends at a multiple of it since the Unix epoch; null: by its rows alone.
    length: Annotated[int, Meta(ge=1)] | None = 86_400
    rows: Annotated[int, Meta(ge=1)] | None = None  # a window that holds as many ends
    step: Annotated[int, Meta(ge=1)] = 60  # windows that end by rows do so at a multiple of it
    grace: Annotated[int, Meta(ge=0)] = (
        3_600  # how late an event may come before its window is closed without it
    )
    # How long after its window a label may still revise the result.
    label_wait: Annotated[int, Meta(ge=0)] = 2_592_000
    # Rows kept per window: those with the smallest hash(event id, row).
    max_rows: Annotated[int, Meta(ge=1)] = 10_000

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec makes its own, for windows that would never end well."""
        if self.length is None and self.rows is None:
            raise ValueError("a window needs an end: state length, rows or both")
        if self.length is not None and self.rows is not None and self.length % self.step:
            raise ValueError(
                f"length is {self.length}; expected a multiple of step, {self.step}, because "
                "windows that end by rows do so at multiples of it"
            )


class FalseAlarms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How seldom a model with nothing wrong may raise an alarm, all its rules together.

    At most one false alarm in so many days of event time, nor in so many windows: what is rarer.
    """

    days: Annotated[float, Meta(gt=0)] = 30
    windows: Annotated[int, Meta(ge=1)] = 100


class MaxGap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far the rates of two groups of a segment may lie apart; no alarm where it is left out."""

    selection_rate: Annotated[float, Meta(ge=0, lt=1)] | None = None
    true_positive_rate: Annotated[float, Meta(ge=0, lt=1)] | None = None


AlarmRule = Literal[
    "drift",
    "performance",
    "estimate",
    "concept",
    "parity",
    "segment",
    "selection_rate_gap",
    "true_positive_rate_gap",
]


class AlarmPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """When a result becomes an alarm."""

    min_rows: Annotated[int, Meta(ge=1)] = 500  # fewer: "not enough data", never an alarm
    drifted_share: Annotated[float, Meta(ge=0, le=1)] = 0.3  # of columns, to call a window drifted
    false_alarms: FalseAlarms = FalseAlarms()  # the budget that thresholds are calibrated to
    smallest_drift: Annotated[float, Meta(ge=0)] = 0.1  # smaller distances do not matter
    min_score: float | None = None  # of `score`; below it performance raises an alarm
    score: str = ""  # roc_auc by default for classification, mae for regression
    min_segment_score: float | None = None  # of `score`, in every group of every segment
    max_gap: MaxGap = MaxGap()  # between the groups of a segment
    consecutive: Annotated[int, Meta(ge=1)] = (
        2  # windows in a row before an alarm fires, and before it resolves
    )
    cool_down: Annotated[int, Meta(ge=0)] = 0  # seconds that a rule is quiet after it resolved
    critical: tuple[AlarmRule, ...] = ("performance", "concept", "parity")  # the others warn


class SegmentPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A feature by whose values a window is also looked at in parts."""

    column: str
    edges: list[float] = []  # of a numeric feature, ascending: a group lies between two
    values: Annotated[int, Meta(ge=1, le=50)] = 10  # that get a group: the reference's commonest


class RerunPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """On which rows of a window the version is run again, to check answers and explain drift."""

    rows: Annotated[int, Meta(ge=0, le=100_000)] = 1_000  # of those kept; 0: it is not run again
    tolerance: Annotated[float, Meta(ge=0)] = 0.001  # of a probability; relative, of a number
    differing: Annotated[float, Meta(ge=0, le=1)] = 0.01  # share of answers that may differ


class Trailing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The windows before, as what a window's drift is measured against."""

    windows: Annotated[int, Meta(ge=1, le=1_000)]  # so many closed ones with `min_rows` or more
    rows: Annotated[int, Meta(ge=100, le=100_000)] = 5_000  # of theirs, by smallest hash


class BaselinePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first windows of production, as the baseline of a version without a reference."""

    windows: Annotated[int, Meta(ge=1, le=1_000)] = 7  # closed ones, at least so many
    min_rows: Annotated[int, Meta(ge=100, le=1_000_000)] = 2_000  # in all of them, at least


class Monitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a version is watched."""

    window: WindowPolicy = WindowPolicy()
    alarms: AlarmPolicy = AlarmPolicy()
    drift_methods: dict[str, str] = {}  # feature -> Evidently method, instead of the default
    drift_thresholds: dict[str, float] = {}  # feature -> threshold, instead of the default
    trailing: Trailing | None = None  # instead of the registered reference, for drift
    baseline: BaselinePolicy = BaselinePolicy()  # without a reference
    rerun: RerunPolicy = RerunPolicy()
    segments: Annotated[
        list[str | SegmentPolicy], Meta(max_length=10)
    ] = []  # a name stands for its all


class Bucket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Say only between which of these ascending edges a number lies."""

    bucket: Annotated[list[float], Meta(min_length=1)]


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which large payloads are kept; errors, slow and unusual requests always are."""

    over_bytes: Annotated[int, Meta(ge=1)] = 65_536  # of inputs and outputs as JSON: large
    share: Annotated[float, Meta(gt=0, le=1)] = 0.01  # of large payloads that is kept
    slow_us: Annotated[int, Meta(ge=1)] = 1_000_000  # from receipt to answer
    # A request is unusual when more than this share of its values lies outside of the reference.
    unusual_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    digest: bool = True  # whether the SHA-256 of what is not kept is


PayloadRule = Literal["keep", "drop", "hmac"] | Bucket


class PayloadPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of requests and answers reaches the log; applied before it is written."""

    fields: dict[str, PayloadRule] = {}  # by feature, input or output; others are kept
    sample: Sampling | None = None


class SessionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How ONNX Runtime runs a version; what is left out is as the service is set."""

    intra_op_threads: Annotated[int, Meta(ge=1)] | None = None  # within one operator
    inter_op_threads: Annotated[int, Meta(ge=1)] = 1  # more than 1: independent operators at once
    graph_optimization: Literal["none", "basic", "extended", "all"] = "all"
    arena: bool = True  # keep memory between runs; False: less memory, slower large runs
    extensions: bool = False  # load the operators of onnxruntime-extensions
    providers: list[str] = []  # execution providers, the first preferred; none: the CPU
    provider_options: dict[str, dict[str, str]] = {}  # by provider, as ONNX Runtime names them


class QueueLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What may wait for a version, per worker; what is left out is as the service is set."""

    max_delay_us: Annotated[int, Meta(ge=0)] | None = None  # how long a batch may wait to fill
    max_requests: Annotated[int, Meta(ge=1)] | None = None
    max_bytes: Annotated[int, Meta(ge=1)] | None = None
    max_wait_ms: Annotated[int, Meta(ge=1)] | None = (
        None  # expected; who would wait longer is refused
    )
    # Levels that requests may state, 1 the highest; each may hold as much as the limits above say.
    priority_levels: Annotated[int, Meta(ge=1, le=16)] = 1
    default_priority: Annotated[int, Meta(ge=1)] | None = None  # of who states none; the lowest
    # What a level is worth: who comes so much later than one of the next level goes second.
    priority_step_ms: Annotated[int, Meta(ge=1)] = 1_000

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec makes its own, where the levels do not agree."""
        if self.default_priority is not None and self.default_priority > self.priority_levels:
            raise ValueError(
                f"default_priority is {self.default_priority}; expected a level from 1 to "
                f"priority_levels, {self.priority_levels}"
            )


# auto: where rows are shown to be independent; off: one request a run; trust: without that proof.
Batching = Literal["auto", "off", "trust"]


class CachePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many answers are remembered for the same inputs, per worker; for models that always
    answer the same.
    """

    max_bytes: Annotated[int, Meta(ge=0)] = 0  # of outputs; 0: none


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """See the module's docstring; `docs/manifest.md` explains each field with an example."""

    task: Task = "other"
    features: list[Feature] = []  # an input carries one in every column, or none at all
    summaries: list[Summary] | None = None  # left out: by the shape of each input and output
    prediction: Prediction = Prediction()
    target: str = ""  # the reference column that holds the label; empty: none is expected
    description: str = ""
    signature: Signature | None = None  # stated: must agree; left out: taken from the ONNX file
    held_out: bool | None = None  # the author's word that the reference was not trained on
    monitoring: Monitoring = Monitoring()
    payload: PayloadPolicy = PayloadPolicy()
    max_batch_size: Annotated[int, Meta(ge=1)] = 256  # rows; of a fixed batch dimension, its size
    batching: Batching = "auto"
    coerce: bool = False  # convert numbers of another datatype, FP64 for FP32 say, and report it
    queue: QueueLimits = QueueLimits()
    cache: CachePolicy = CachePolicy()
    session: SessionOptions = SessionOptions()
    lineage: dict[str, str] = {}  # training data, code revision, whatever the author records


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One registered, immutable version as the registry hands it out."""

    model: str
    number: str  # "1", "2", ...: how clients name it
    digest: str  # sha256 in hex over the ONNX file, the manifest and the reference
    created: int  # microseconds since the epoch
    manifest: Manifest  # completed: signature present, every feature's input filled in
    path: str  # folder holding model.onnx, manifest.json and any reference.parquet
