"""Event-time windows: watermark, state, closing, retention, policy periods."""
