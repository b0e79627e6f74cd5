"""Find models whose time or memory depends on the values of a request, not only on its size."""

# Their results have a size that values decide, or they run a graph as often as values decide.
_OPERATORS = (
    "Loop",
    "If",
    "Range",
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Resize",
    "Upsample",
    "Pad",
    "CenterCropPad",
    "OneHot",
    "NonZero",
    "Compress",
    "Unique",
    "NonMaxSuppression",
    "MaxUnpool",
    "AffineGrid",
    "DFT",
    "STFT",
    "HannWindow",
    "HammingWindow",
    "BlackmanWindow",
    "MelWeightMatrix",
    "BeamSearch",
    "GreedySearch",
    "Sampling",
)


def depends_on_values(model: bytes) -> bool:
    """Return whether values of an input may decide how much an ONNX model computes.

    Finds operator types by their encoding in the file, in subgraphs and functions too; a false
    alarm costs a hand-over to a thread.
    """
    return any(b"\x22%c%b" % (len(name), name.encode()) in model for name in _OPERATORS)
