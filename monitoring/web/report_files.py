"""Find the files of Evidently reports; other files are not accessible."""

from pathlib import Path


def locate(folder: Path, name: str) -> Path | None:
    """Return the HTML file `name` in `folder`; None if it is missing or a link leads outside."""
    try:
        path = (folder / name).resolve()
        inside = path.is_relative_to(folder.resolve())
        return path if inside and path.suffix == ".html" and path.is_file() else None
    except (OSError, ValueError):
        return None
