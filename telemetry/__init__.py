"""How every process tells what it does: spans by OTLP, lines as JSON."""
