"""Define the manifest, which describes a version for serving and monitoring.

Users can write it as a YAML file. `register` adds missing fields from the ONNX file and the
reference (signature, feature inputs, summaries) and refuses contradictions.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from eventlog.byte_size import PATTERN as SIZE_PATTERN
from eventlog.events import Label

Task = Literal["classification", "regression", "other"]  # other: outputs have only summaries
Kind = Literal["numeric", "categorical"]


class TensorSpec(msgspec.Struct, frozen=True):
    """One input or output tensor."""

    name: str
    datatype: str  # datatype of the Open Inference Protocol
    shape: list[int]  # -1 for a free dimension


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """The input and output tensors of a version, in the ONNX file's order."""

    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    optional: list[TensorSpec] = []  # inputs with a default value that requests can set

    @property
    def accepted(self) -> list[TensorSpec]:
        """Return every input that a request can contain."""
        return [*self.inputs, *self.optional]


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A named feature, which is column `index` of input `input`."""

    name: str
    kind: Kind
    nullable: bool = False  # whether NaN (numeric) or null (categorical, sent as "") is allowed
    input: str = ""  # default: the input with the feature's name
    index: Annotated[int, Meta(ge=0)] = 0
    monitor: bool = True  # whether drift and data quality are computed


Statistic = Literal[
    "mean",  # mean to l2_norm are computed from the finite values of one row
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
    "projection",  # projection of a vector onto the fixed direction number `index`
]


class Summary(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One number per row of a tensor, computed in every request and monitored as a column."""

    name: str
    tensor: str  # name of an input or output
    statistic: Statistic
    # Channel of an image [N, C, H, W], or direction of a projection; null for the whole row.
    index: Annotated[int, Meta(ge=0)] | None = None


Activation = Literal["none", "softmax", "sigmoid"]


class Prediction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outputs that contain the prediction; none for task: other.

    A classification has `label` [N] and optionally `probabilities` [N, classes], in the order of
    `classes`. Alternatively, it has `scores` [N, classes], which `activation` converts to
    probabilities and label; with sigmoid, a row can have several labels. A regression has `label`
    [N] or [N, 1], the predicted number.
    """

    label: str = ""
    probabilities: str = ""
    classes: list[Label] = []
    positive: Label | None = None  # positive class of a binary model
    scores: str = ""  # raw scores [N, classes]; replaces label and probabilities
    activation: Activation = "none"


class WindowPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The division of event time into windows by length, rows, or both; durations in seconds."""

    # Windows end at multiples of `length` since the Unix epoch; null: windows end only by rows.
    length: Annotated[int, Meta(ge=1)] | None = 86_400
    # Shift of these multiples; with 345600, windows of one week begin on Mondays, UTC.
    offset: Annotated[int, Meta(ge=0)] = 0
    rows: Annotated[int, Meta(ge=1)] | None = None  # number of rows that ends a window
    step: Annotated[int, Meta(ge=1)] = 60  # windows that end by rows end at a multiple of `step`
    grace: Annotated[int, Meta(ge=0)] = 3_600  # longest delay of events before a window closes
    # How long after the end of a window a label can still revise the result.
    label_wait: Annotated[int, Meta(ge=0)] = 2_592_000
    # Number of sampled rows per window; the sample is the rows with the smallest hash.
    max_rows: Annotated[int, Meta(ge=1)] = 10_000

    def __post_init__(self) -> None:
        """Raise ValueError (msgspec converts it) for windows without a consistent end."""
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
                "windows that end by rows end at multiples of step"
            )


class FalseAlarms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The limit on the false-alarm rate of all rules of a version together.

    At most one false alarm per `days` of event time and one per `windows`; the stricter applies.
    """

    days: Annotated[float, Meta(gt=0)] = 30
    windows: Annotated[int, Meta(ge=1)] = 100


class MaxGap(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits on the differences in rates between two groups of a segment; null for no alarm."""

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
    """The rules by which results raise alarms."""

    min_rows: Annotated[int, Meta(ge=1)] = 500  # with fewer rows: "not enough data", no alarm
    drifted_share: Annotated[float, Meta(ge=0, le=1)] = 0.3  # least share of drifted columns
    false_alarms: FalseAlarms = FalseAlarms()  # rate to which thresholds are calibrated
    smallest_drift: Annotated[float, Meta(ge=0)] = 0.1  # smaller distances are ignored
    min_score: float | None = None  # lowest `score` without a performance alarm
    score: str = ""  # default: roc_auc for classification, mae for regression
    min_segment_score: float | None = None  # lowest `score` of each group of each segment
    max_gap: MaxGap = MaxGap()  # largest gaps between the groups of a segment
    # Least requests per hour for all versions of the model; null: derived from previous weeks.
    min_traffic: Annotated[int, Meta(ge=1)] | None = None
    timezone: str = "UTC"  # IANA name of the time zone whose hours and weekdays shape the traffic
    # Consecutive windows before an alarm fires, and before it resolves.
    consecutive: Annotated[int, Meta(ge=1)] = 2
    cool_down: Annotated[int, Meta(ge=0)] = 0  # seconds without alarms of a rule after it resolves
    critical: tuple[AlarmRule, ...] = ("performance", "concept", "parity")  # others are warnings


class SegmentPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A segment: the split of each window into groups by the values of a feature."""

    column: str
    edges: list[float] = []  # ascending bounds of the groups of a numeric feature
    # Number of groups, which are the most frequent values of the reference.
    values: Annotated[int, Meta(ge=1, le=50)] = 10

    @classmethod
    def of(cls, declared: "str | SegmentPolicy") -> "SegmentPolicy":
        """Return a declared segment; a feature name stands for the default settings."""
        return cls(declared) if isinstance(declared, str) else declared


class RerunPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The re-run of a version on logged rows, to check prediction parity and to explain drift."""

    # Number of rows from a window's sample; 0 for no re-run.
    rows: Annotated[int, Meta(ge=0, le=100_000)] = 1_000
    tolerance: Annotated[float, Meta(ge=0)] = 0.001  # absolute for probabilities, else relative
    differing: Annotated[float, Meta(ge=0, le=1)] = 0.01  # largest share of differing predictions


class Trailing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A baseline of previous windows that replaces the reference for drift."""

    windows: Annotated[int, Meta(ge=1, le=1_000)]  # latest closed windows with >= `min_rows` rows
    rows: Annotated[int, Meta(ge=100, le=100_000)] = 5_000  # sample size, by smallest hash


class BaselinePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first windows from which the baseline of a version without a reference is learned."""

    windows: Annotated[int, Meta(ge=1, le=1_000)] = 7  # least number of closed windows
    min_rows: Annotated[int, Meta(ge=100, le=1_000_000)] = 2_000  # least total number of rows


class ReviewPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The selection of rows that people label; the three shares add up to 1."""

    per_day: Annotated[int, Meta(ge=1, le=500)] = 50  # rows per version and day of event time
    uncertain: Annotated[float, Meta(ge=0, lt=1)] = 0.5  # low margin between the two best classes
    diverse: Annotated[float, Meta(ge=0, lt=1)] = 0.3  # the same number from each kind of rows
    random: Annotated[float, Meta(gt=0, le=1)] = 0.2  # gives every row a probability above 0
    # Rows are selected at the end of each period of this length, in seconds of event time.
    every: Annotated[int, Meta(ge=60, le=604_800)] = 86_400

    def __post_init__(self) -> None:
        """Raise ValueError (msgspec converts it) for wrong shares or periods without a row."""
        if abs(self.uncertain + self.diverse + self.random - 1) > 1e-6:
            raise ValueError(
                f"uncertain, diverse and random are {self.uncertain:g}, {self.diverse:g} and "
                f"{self.random:g}; expected shares that add up to 1"
            )
        if self.per_day * self.every < 86_400:
            raise ValueError(
                f"{self.per_day} rows per day are less than one row per {self.every} seconds; "
                "expected a larger per_day or every"
            )


class Monitoring(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The monitoring policy of a version."""

    window: WindowPolicy = WindowPolicy()
    alarms: AlarmPolicy = AlarmPolicy()
    drift_methods: dict[str, str] = {}  # feature -> Evidently method; overrides the default
    drift_thresholds: dict[str, float] = {}  # feature -> threshold; overrides the default
    # Input or output that contains vectors -> Evidently method for a sample; raises no alarm.
    embedding_drift: dict[str, str] = {}
    trailing: Trailing | None = None  # overrides the reference for drift
    baseline: BaselinePolicy = BaselinePolicy()  # baseline for a version without a reference
    rerun: RerunPolicy = RerunPolicy()
    review: ReviewPolicy | None = None  # null: no row is selected for review
    # A feature name stands for a segment with default settings.
    segments: Annotated[list[str | SegmentPolicy], Meta(max_length=10)] = []


class Bucket(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rule to log only a number's bucket, which is between two of these ascending edges."""

    bucket: Annotated[list[float], Meta(min_length=1)]


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The sampling of large payloads; failed, slow and unusual requests are always logged."""

    over_bytes: Annotated[int, Meta(ge=1)] = 65_536  # a payload with more bytes of JSON is large
    share: Annotated[float, Meta(gt=0, le=1)] = 0.01  # share of large payloads that is logged
    slow_us: Annotated[int, Meta(ge=1)] = 1_000_000  # a longer request, in microseconds, is slow
    # A request is unusual if more than this share of its values is outside the reference's range.
    unusual_share: Annotated[float, Meta(ge=0, le=1)] = 0.01
    digest: bool = True  # log the SHA-256 of omitted payloads


PayloadRule = Literal["keep", "drop", "hmac"] | Bucket


class PayloadPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules that hide fields of requests and responses before they are logged."""

    fields: dict[str, PayloadRule] = {}  # feature, input or output -> rule; default: keep
    sample: Sampling | None = None


class SessionOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The options of ONNX Runtime for a version; null for the service's setting."""

    intra_op_threads: Annotated[int, Meta(ge=1)] | None = None  # threads within one operator
    inter_op_threads: Annotated[int, Meta(ge=1)] = 1  # above 1: run operators in parallel
    graph_optimization: Literal["none", "basic", "extended", "all"] = "all"
    arena: bool = True  # reuse memory between runs; False: less memory, slower large runs
    extensions: bool = False  # load the operators of onnxruntime-extensions
    providers: list[str] = []  # execution providers in order of preference; empty for the CPU
    provider_options: dict[str, dict[str, str]] = {}  # provider -> ONNX Runtime's options
    isolation: Literal["none", "process"] = "none"  # process: run in a separate process
    # Memory limit of the model's process, such as 2GiB; empty for no limit.
    memory: Annotated[str, Meta(pattern=f"^{SIZE_PATTERN}$")] = ""

    def __post_init__(self) -> None:
        """Raise ValueError (msgspec converts it) for a memory limit without a process."""
        if self.memory and self.isolation != "process":
            raise ValueError(
                f"memory is {self.memory!r} without isolation: process; the limit applies to the "
                "model's own process"
            )


class QueueLimits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Limits on the queued requests of a version per worker; null for the service's setting."""

    max_delay_us: Annotated[int, Meta(ge=0)] | None = None  # longest time to wait for more requests
    max_requests: Annotated[int, Meta(ge=1)] | None = None
    max_bytes: Annotated[int, Meta(ge=1)] | None = None
    # Requests with a longer expected wait are refused.
    max_wait_ms: Annotated[int, Meta(ge=1)] | None = None
    # Number of priorities, with 1 as the highest; the limits above apply to each priority.
    priority_levels: Annotated[int, Meta(ge=1, le=16)] = 1
    # Priority of requests that state none; null for the lowest.
    default_priority: Annotated[int, Meta(ge=1)] | None = None
    # A request precedes requests of the next lower priority that arrived at most this much earlier.
    priority_step_ms: Annotated[int, Meta(ge=1)] = 1_000

    def __post_init__(self) -> None:
        """Raise ValueError (msgspec converts it) if the priorities contradict each other."""
        if self.default_priority is not None and self.default_priority > self.priority_levels:
            raise ValueError(
                f"default_priority is {self.default_priority}; expected a level from 1 to "
                f"priority_levels, {self.priority_levels}"
            )


# auto: batch requests if a test shows that rows are independent; off: never; trust: without a test.
Batching = Literal["auto", "off", "trust"]


class CachePolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The cache of outputs by inputs, per worker; only for deterministic models."""

    max_bytes: Annotated[int, Meta(ge=0)] = 0  # total size of cached outputs; 0 for no cache


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The manifest of a version; `docs/manifest.md` explains each field with an example."""

    task: Task = "other"
    features: list[Feature] = []  # every column of an input is a feature, or no column is
    summaries: list[Summary] | None = None  # null: selected by the shapes of inputs and outputs
    prediction: Prediction = Prediction()
    target: str = ""  # reference column of labels; empty if there are none
    event_time: str = ""  # reference column of event times; empty if there is none
    description: str = ""
    signature: Signature | None = None  # must agree with the ONNX file; null: read from the file
    optional_inputs: list[str] = []  # inputs with a default value that requests can set
    held_out: bool | None = None  # whether the model was not trained on the reference
    monitoring: Monitoring = Monitoring()
    payload: PayloadPolicy = PayloadPolicy()
    max_batch_size: Annotated[int, Meta(ge=1)] = 256  # rows; the size of a fixed batch dimension
    # Limit on the input bytes of one run; null: 8 MiB on the CPU, else no limit.
    max_batch_bytes: Annotated[int, Meta(ge=1)] | None = None
    batching: Batching = "auto"
    coerce: bool = False  # convert numbers of another datatype, such as FP64, and report it
    queue: QueueLimits = QueueLimits()
    cache: CachePolicy = CachePolicy()
    session: SessionOptions = SessionOptions()
    lineage: dict[str, str] = {}  # free entries, such as training data or code revision


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """One registered, immutable version."""

    model: str
    number: str  # "1", "2", ...
    digest: str  # SHA-256 of ONNX file, manifest and reference, in hex
    created: int  # microseconds since the Unix epoch
    manifest: Manifest  # completed, with signature and the input of every feature
    path: str  # folder with model.onnx, manifest.json and, if registered, reference.parquet
    files: dict[str, str] = {}  # file name -> SHA-256; empty for versions of earlier releases
