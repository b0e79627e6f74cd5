"""Build the examples and register them.

python examples/any_model/register.py [NAME ...]
"""

import sys
from collections.abc import Callable

import digit_images
import plain_tables
import sentence_texts
import tone_audio
from example import Example

import driftline
from registry.manifest import Version

EXAMPLES: dict[str, Callable[[], Example]] = {
    "digits": digit_images.tensors,
    "digit-files": digit_images.files,
    "pairs": digit_images.pairs,
    "sentences": sentence_texts.classifier,
    "sentence-vectors": sentence_texts.vectors,
    "tones": tone_audio.recordings,
    "anomalies": plain_tables.anomalies,
    "several-numbers": plain_tables.several_numbers,
}


def register(name: str) -> Version:
    """Build one example and register it under its name."""
    example = EXAMPLES[name]()
    return driftline.register(
        name,
        example.model,
        reference=example.reference,
        target=example.target,
        manifest=example.manifest,
    )


def main(names: list[str]) -> None:
    """Register the named examples, or all of them."""
    unknown = set(names) - set(EXAMPLES)
    if unknown:
        raise SystemExit(f"no example {min(unknown)!r}; expected names from {', '.join(EXAMPLES)}")
    for name in names or EXAMPLES:
        version = register(name)
        print(f"{name}: version {version.number}, {version.manifest.task}")


if __name__ == "__main__":
    main(sys.argv[1:])
