"""Copy Prometheus' rules into the Helm chart: `python deploy/helm/copy_rules.py`.

Helm cannot read files outside a chart, and archives and some file systems lose symbolic links.
"""

import shutil
from pathlib import Path

_HERE = Path(__file__).parent
RULES = _HERE.parent / "prometheus" / "rules"
COPIES = _HERE / "driftline" / "rules"


def main() -> None:
    """Replace the chart's copies of the rules."""
    shutil.copytree(RULES, COPIES, dirs_exist_ok=True)


if __name__ == "__main__":
    main()
