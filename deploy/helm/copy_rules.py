"""Copy Prometheus' rules into the Helm chart: `python deploy/helm/copy_rules.py`.

Helm reads no file outside a chart, and a link would be lost in archives and on some file systems.
"""

import shutil
from pathlib import Path

_HERE = Path(__file__).parent
RULES = _HERE.parent / "prometheus" / "rules"
COPIES = _HERE / "driftline" / "rules"


def main() -> None:
    """Replace the chart's copies."""
    shutil.copytree(RULES, COPIES, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
