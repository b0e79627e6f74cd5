"""Enforce the bind rule: a port that other machines can reach requires credentials."""

import ipaddress

from eventlog.errors import SettingError


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, prefix: str, *, credentials: bool, allow_anonymous: bool) -> None:
    """Raise SettingError if other machines can reach `host` without credentials.

    `allow_anonymous` permits this. `prefix` is the prefix of the settings' variables.
    """
    if is_loopback(host) or credentials or allow_anonymous:
        return
    raise SettingError(
        f"host {host} can be reached from other machines, and no credentials are configured: "
        "any caller would have full access. Expected a loopback address such as "
        "127.0.0.1, or a key (driftline keys create --name me --scope operate --scope predict), or "
        f"--allow-anonymous ({prefix}ALLOW_ANONYMOUS=true) if a network policy or proxy guards "
        "the port"
    )
