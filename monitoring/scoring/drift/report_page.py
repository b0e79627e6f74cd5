"""Seal Evidently's HTML: what was logged cannot become markup or script. Pure.

Evidently writes the names and values of a window as JSON into a script of the page, without
escaping `</script>`. A category may hold that, and a script after it.
"""

import base64
import hashlib
import re

_DATA = re.compile(r"^( *var (?:additional_graphs_)?metric_\w+ = )(.*;)$", re.MULTILINE)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_HEAD = "<head>"


def sealed(html: str) -> str:
    """Return the page with its data escaped, and with a policy that allows its own scripts alone.

    The policy is part of the page, so it also holds for a copy that is opened from a disk.
    """
    page = _DATA.sub(lambda line: line[1] + _escaped(line[2]), html.replace("\r", ""))
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in _SCRIPT.findall(page))
    policy = (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    before, head, after = page.partition(_HEAD)
    return f"{before}{head}\n        {meta}{after}"


def _escaped(json: str) -> str:
    """Escape HTML's special characters, which JSON has only in strings."""
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
