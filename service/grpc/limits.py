"""What every gRPC front keeps to, beside the settings."""

LONGEST_METADATA = 16_384  # bytes of a call's names and values, as REST's heads
