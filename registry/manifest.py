"""Define the manifest of a version: everything that serving and monitoring know about it.

The user may write it as a YAML file. `register` fills in what the ONNX file and the reference state
(signature, feature inputs, summaries) and refuses contradictions.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventlog.byte_size import PATTERN as SIZE_PATTERN
from eventlog.events import Label

Task = Literal["classification", "regression", "other"]  # other: monitor only summaries of outputs
Kind = Literal["numeric", "categorical"]


class TensorSpec(msgspec.Struct, frozen=True):
    """Describe one tensor: name, Open Inference Protocol datatype, shape; -1: free dimension."""

    name: str
    datatype: str
    shape: list[int]


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """List the input and output tensors of a version, in the ONNX file's order."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    optional: list[TensorSpec] = []  # inputs with a default, which requests may set

    @property
    def accepted(self) -> list[TensorSpec]:
        """Return every input that a request may hold."""
        return [*self.inputs, *self.optional]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Map one named feature to column `index` of input `input`."""

    name: str
    kind: Kind
    nullable: bool = False  # NaN (numeric) or null (categorical, sent as "") is allowed
    input: str = ""  # default: the input with the feature's name
    index: Annotated[int, Meta(ge=0)] = 0
    monitor: bool = True  # False: serve and log it, but compute no drift or data quality


Statistic = Literal[
    "mean",  # this and the next four: of the finite values of one row
    "std",
    "min",
    "max",
    "l2_norm",
    "zero_share",
    "nan_share",  # share of NaN and infinities
    "length",  # characters of a text, bytes of a payload, or elements of a row
    "word_count",
    "non_ascii_share",
    "empty",  # 1 if the text is empty, else 0
    "projection",  # of a vector onto the fixed direction number `index`
]


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Compute one number per row of a tensor in every request; monitor it as a column."""

    name: str
    tensor: str  # name of an input or output
    statistic: Statistic
    # Channel of an image [N, C, H, W], or direction of a projection; null: the whole row.
    index: Annotated[int, Meta(ge=0)] | None = None


Activation = Literal["none", "softmax", "sigmoid"]


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Name the outputs that hold the prediction; none for task: other.

    Classification: `label` [N] and optionally `probabilities` [N, classes], in the order of
    `classes`. Alternatively `scores` [N, classes]: `activation` converts them to probabilities and
    label; with sigmoid, a row may have several labels. Regression: `label` holds the predicted
    number, [N] or [N, 1].
    """

    label: str = ""
    probabilities: str = ""
    classes: list[Label] = []
    positive: Label | None = None  # positive class of a binary model
    scores: str = ""  # raw scores [N, classes]; replaces label and probabilities
    activation: Activation = "none"


class WindowPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Divide event time into windows by length, by rows, or both; durations in seconds."""

    # Windows end at multiples of `length` since the Unix epoch; null: by rows alone.
    length: Annotated[int, Meta(ge=1)] | None = 86_400
    # Shift of these ends: 345600 begins windows of whole weeks on Mondays, UTC.
    offset: Annotated[int, Meta(ge=0)] = 0
    rows: Annotated[int, Meta(ge=1)] | None = None  # number of rows that ends a window
    step: Annotated[int, Meta(ge=1)] = 60  # windows that end by rows end at a multiple of `step`
    grace: Annotated[int, Meta(ge=0)] = (
        3_600  # how late an event may arrive before its window closes
    )
    # How long after the end of a window a label may still revise the result.
    label_wait: Annotated[int, Meta(ge=0)] = 2_592_000
    # Rows sampled per window: those with the smallest hash(event id, row).
    max_rows: Annotated[int, Meta(ge=1)] = 10_000

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec converts, for windows without a consistent end."""
        if self.length is None and self.rows is None:
            raise ValueError("a window needs an end: state length, rows or both")
        if self.offset and (self.length is None or self.offset >= self.length):
            raise ValueError(
                f"offset is {self.offset}; expected less than length, "
                f"{'null' if self.length is None else self.length}, whose multiples it shifts"
            )
        if self.length is not None and self.rows is not None and self.length % self.step:
            raise ValueError(
                f"length is {self.length}; expected a multiple of step, {self.step}, because "
                "windows that end by rows do so at multiples of it"
            )


class FalseAlarms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limit the false-alarm rate of a version, all its rules together.

    At most one false alarm in `days` of event time and one in `windows`; the rarer limit applies.
    """

    days: Annotated[float, Meta(gt=0)] = 30
    windows: Annotated[int, Meta(ge=1)] = 100


class MaxGap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limit the differences in rates between two groups of a segment; null: no alarm."""

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
    "traffic",
]


class AlarmPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Decide when a result raises an alarm."""

    min_rows: Annotated[int, Meta(ge=1)] = 500  # with fewer rows: "not enough data", no alarm
    drifted_share: Annotated[float, Meta(ge=0, le=1)] = 0.3  # of columns, in a drifted window
    false_alarms: FalseAlarms = FalseAlarms()  # rate that thresholds are calibrated to
    smallest_drift: Annotated[float, Meta(ge=0)] = 0.1  # ignore smaller distances
    min_score: float | None = None  # lowest `score` without a performance alarm
    score: str = ""  # default: roc_auc for classification, mae for regression
    min_segment_score: float | None = None  # lowest `score` of each group of each segment
    max_gap: MaxGap = MaxGap()  # max gap between the groups of a segment
    # Least requests of the model in an hour, all versions together; null: as in the weeks before.
    min_traffic: Annotated[int, Meta(ge=1)] | None = None
    timezone: str = "UTC"  # whose clocks the traffic follows; a name of the IANA database
    consecutive: Annotated[int, Meta(ge=1)] = (
        2  # consecutive windows before an alarm fires, and before it resolves
    )
    cool_down: Annotated[int, Meta(ge=0)] = 0  # seconds without alarms of a rule after it resolves
    critical: tuple[AlarmRule, ...] = ("performance", "concept", "parity")  # others are warnings


class SegmentPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Split each window into groups by the values of a feature and score each group."""

    column: str
    edges: list[float] = []  # ascending bounds of the groups of a numeric feature
    values: Annotated[int, Meta(ge=1, le=50)] = 10  # groups: most frequent values of the reference

    @classmethod
    def of(cls, declared: "str | SegmentPolicy") -> "SegmentPolicy":
        """Return a declared segment; a feature name alone has the default settings."""
        return cls(declared) if isinstance(declared, str) else declared


class RerunPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Re-run the version on logged rows, to check prediction parity and to explain drift."""

    rows: Annotated[int, Meta(ge=0, le=100_000)] = 1_000  # of a window's sample; 0: no re-run
    tolerance: Annotated[float, Meta(ge=0)] = 0.001  # absolute for probabilities, else relative
    differing: Annotated[float, Meta(ge=0, le=1)] = 0.01  # share of predictions that may differ


class Trailing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measure drift against preceding windows instead of the reference."""

    windows: Annotated[int, Meta(ge=1, le=1_000)]  # latest closed windows with >= `min_rows` rows
    rows: Annotated[int, Meta(ge=100, le=100_000)] = 5_000  # sample of them, by smallest hash


class BaselinePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Learn the baseline of a version without a reference from its first windows."""

    windows: Annotated[int, Meta(ge=1, le=1_000)] = 7  # least number of closed windows
    min_rows: Annotated[int, Meta(ge=100, le=1_000_000)] = 2_000  # least rows in all of them


class ReviewPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pick rows for people to label; the shares of the three parts add up to 1."""

    per_day: Annotated[int, Meta(ge=1, le=500)] = 50  # rows of each version in a day of event time
    uncertain: Annotated[float, Meta(ge=0, lt=1)] = 0.5  # low margin between two best classes
    diverse: Annotated[float, Meta(ge=0, lt=1)] = 0.3  # as many from rare kinds of rows
    random: Annotated[float, Meta(gt=0, le=1)] = 0.2  # gives every row a probability above 0
    # Rows are picked when so many seconds of event time have ended.
    every: Annotated[int, Meta(ge=60, le=604_800)] = 86_400

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec converts, for shares or periods without a budget."""
        if abs(self.uncertain + self.diverse + self.random - 1) > 1e-6:
            raise ValueError(
                f"uncertain, diverse and random are {self.uncertain:g}, {self.diverse:g} and "
                f"{self.random:g}; expected shares that add up to 1"
            )
        if self.per_day * self.every < 86_400:
            raise ValueError(
                f"{self.per_day} rows a day are less than one row in {self.every} seconds; "
                "expected a larger per_day or every"
            )


class Monitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Configure the monitoring of a version."""

    window: WindowPolicy = WindowPolicy()
    alarms: AlarmPolicy = AlarmPolicy()
    drift_methods: dict[str, str] = {}  # feature -> Evidently method; overrides the default
    drift_thresholds: dict[str, float] = {}  # feature -> threshold; overrides the default
    # Input or output that holds vectors -> Evidently's method for a sample of them; no alarm.
    embedding_drift: dict[str, str] = {}
    trailing: Trailing | None = None  # overrides the reference, for drift
    baseline: BaselinePolicy = BaselinePolicy()  # baseline for a version without a reference
    rerun: RerunPolicy = RerunPolicy()
    review: ReviewPolicy | None = None  # null: no row is picked
    segments: Annotated[
        list[str | SegmentPolicy], Meta(max_length=10)
    ] = []  # a feature name alone: a segment with default settings


class Bucket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Log only the bucket of a number, between two of these ascending edges."""

    bucket: Annotated[list[float], Meta(min_length=1)]


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sample large payloads; those of failed, slow and unusual requests are always logged."""

    over_bytes: Annotated[int, Meta(ge=1)] = 65_536  # a larger payload, as JSON, is sampled
    share: Annotated[float, Meta(gt=0, le=1)] = 0.01  # of large payloads that is logged
    slow_us: Annotated[int, Meta(ge=1)] = 1_000_000  # a longer request is slow; microseconds
    # A request is unusual if more than this share of its values is outside the reference's range.
    unusual_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    digest: bool = True  # log the SHA-256 of omitted payloads


PayloadRule = Literal["keep", "drop", "hmac"] | Bucket


class PayloadPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hide fields of requests and responses, before they are logged."""

    fields: dict[str, PayloadRule] = {}  # feature, input or output -> rule; default: keep
    sample: Sampling | None = None


class SessionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Configure ONNX Runtime for a version; null: the service's setting."""

    intra_op_threads: Annotated[int, Meta(ge=1)] | None = None  # threads within one operator
    inter_op_threads: Annotated[int, Meta(ge=1)] = 1  # above 1: run operators in parallel
    graph_optimization: Literal["none", "basic", "extended", "all"] = "all"
    arena: bool = True  # reuse memory between runs; False: less memory, slower large runs
    extensions: bool = False  # load the operators of onnxruntime-extensions
    providers: list[str] = []  # execution providers, by preference; empty: the CPU
    provider_options: dict[str, dict[str, str]] = {}  # provider -> ONNX Runtime's options
    isolation: Literal["none", "process"] = "none"  # process: a crash of the model costs it alone
    # Data that the model's process may have, as in 2GiB; empty: no limit.
    memory: Annotated[str, Meta(pattern=f"^{SIZE_PATTERN}$")] = ""

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec converts, for a limit that nothing would keep."""
        if self.memory and self.isolation != "process":
            raise ValueError(
                f"memory is {self.memory!r} without isolation: process; the limit is of the "
                "model's own process"
            )


class QueueLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limit the queued requests of a version, per worker; null: the service's setting."""

    max_delay_us: Annotated[int, Meta(ge=0)] | None = None  # longest time that a batch fills
    max_requests: Annotated[int, Meta(ge=1)] | None = None
    max_bytes: Annotated[int, Meta(ge=1)] | None = None
    max_wait_ms: Annotated[int, Meta(ge=1)] | None = (
        None  # requests with a longer expected wait are refused
    )
    # Number of priorities, 1 the highest; the limits above apply to each of them.
    priority_levels: Annotated[int, Meta(ge=1, le=16)] = 1
    # Priority of requests that state none; null: the lowest.
    default_priority: Annotated[int, Meta(ge=1)] | None = None
    # A request precedes those of the next lower priority that arrived up to this much earlier.
    priority_step_ms: Annotated[int, Meta(ge=1)] = 1_000

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec converts, if the priorities contradict each other."""
        if self.default_priority is not None and self.default_priority > self.priority_levels:
            raise ValueError(
                f"default_priority is {self.default_priority}; expected a level from 1 to "
                f"priority_levels, {self.priority_levels}"
            )


# auto: batch requests if rows are shown to be independent; off: never; trust: without that test.
Batching = Literal["auto", "off", "trust"]


class CachePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cache outputs by inputs, per worker; only for deterministic models."""

    max_bytes: Annotated[int, Meta(ge=0)] = 0  # total size of cached outputs; 0: no cache


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Define the manifest; `docs/manifest.md` explains each field with an example."""

    task: Task = "other"
    features: list[Feature] = []  # an input has a feature in every column, or in none
    summaries: list[Summary] | None = None  # null: chosen by the shape of each input and output
    prediction: Prediction = Prediction()
    target: str = ""  # reference column that holds the label; empty: no labels
    event_time: str = ""  # reference column that holds the time of each row; empty: none
    description: str = ""
    signature: Signature | None = None  # must agree with the ONNX file; null: read from it
    optional_inputs: list[str] = []  # inputs with a default value that requests may set
    held_out: bool | None = None  # the author states that the model never saw the reference
    monitoring: Monitoring = Monitoring()
    payload: PayloadPolicy = PayloadPolicy()
    max_batch_size: Annotated[int, Meta(ge=1)] = 256  # rows; for a fixed batch dimension, its size
    # Bytes of the inputs of one run; null: 8 MiB on the CPU, else no limit.
    max_batch_bytes: Annotated[int, Meta(ge=1)] | None = None
    batching: Batching = "auto"
    coerce: bool = False  # convert numbers of another datatype, such as FP64, and report it
    queue: QueueLimits = QueueLimits()
    cache: CachePolicy = CachePolicy()
    session: SessionOptions = SessionOptions()
    lineage: dict[str, str] = {}  # free entries, such as training data or code revision


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """Hold one registered, immutable version."""

    model: str
    number: str  # "1", "2", ...
    digest: str  # SHA-256 of ONNX file, manifest and reference, in hex
    created: int  # microseconds since the Unix epoch
    manifest: Manifest  # completed: with signature and the input of every feature
    path: str  # folder with model.onnx, manifest.json and, if registered, reference.parquet
    files: dict[str, str] = {}  # SHA-256 by file name; empty if an earlier release registered it
