"""Query the monitor of another machine at DRIFTLINE_MONITOR_PAGE_URL."""

from collections.abc import Sequence
from urllib.parse import quote

import click
import httpx
import msgspec

from driftline.local_actor import read_key
from eventlog.settings import from_environment
from monitoring.settings import PREFIX, MonitorSettings

_TIMEOUT_S = 10.0


class _RolloutId(msgspec.Struct):
    id: str


class _Panel(msgspec.Struct):
    rollout: _RolloutId
    awaited: list[str] = []


class _Alias(msgspec.Struct):
    panel: _Panel | None = None


def awaited_conditions(
    model: str, alias: str, rollout: str, transport: httpx.BaseTransport | None = None
) -> Sequence[str]:
    """Return the conditions for which an active rollout waits, as reported by the monitor.

    Returns [] if no address is set or the monitor does not know the rollout yet. If the request
    fails, prints the reason and returns [].
    """
    page = from_environment(MonitorSettings, PREFIX).page_url.rstrip("/")
    if not page:
        return []
    key = read_key()
    headers = {"authorization": f"Bearer {key}"} if key else {}
    path = f"{page}/api/models/{quote(model, safe='')}/rollouts/{quote(alias, safe='')}"
    try:
        with httpx.Client(headers=headers, timeout=_TIMEOUT_S, transport=transport) as client:
            reply = client.get(path).raise_for_status()
        panel = msgspec.json.decode(reply.content, type=_Alias).panel
    except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError) as error:
        click.echo(f"driftline: cannot query the monitor at {page}: {_reason(error)}", err=True)
        return []
    return panel.awaited if panel is not None and panel.rollout.id == rollout else []


def _reason(error: Exception) -> str:
    if isinstance(error, httpx.HTTPStatusError):
        return f"status {error.response.status_code}"
    return str(error).rstrip(".") or type(error).__name__
