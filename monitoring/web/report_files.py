"""Find the files of Evidently's reports, and nothing else."""

from pathlib import Path


def locate(folder: Path, name: str) -> Path | None:
    """Return the HTML file `name` below `folder`, links followed; None if it leads elsewhere."""
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
        return path if inside and path.suffix == ".html" and path.is_file() else None
    except (OSError, ValueError):
        return None
