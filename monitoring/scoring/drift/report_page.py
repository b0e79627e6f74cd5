"""Protect Evidently's HTML report against markup and scripts in logged values. Pure.

Evidently writes a window's names and values as JSON into a script of the page, without escaping
`</script>`. A logged category could contain `</script>`, followed by a script of an attacker.
"""

import base64
import hashlib
import re

_DATA = re.compile(r"^( *var (?:additional_graphs_)?metric_\w+ = )(.*;)$", re.MULTILINE)
_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_HEAD = "<head>"


def sealed(html: str) -> str:
    """Return the page with escaped data, and a policy that allows only the page's own scripts.

    The content security policy is part of the page, so it also protects a saved copy.
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
    """Escape HTML's special characters; JSON contains them only in strings."""
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
