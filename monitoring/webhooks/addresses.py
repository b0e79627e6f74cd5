"""Decide which IP addresses a webhook may be sent to. Pure.

The list of networks replaces `ipaddress.is_global`, which differs between Python releases and
allows multicast and tunnels.
"""

from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

_PUBLIC_IPV6 = IPv6Network("2000::/3")

_ISATAP_MASK = 0xFDFFFFFF  # upper half of an interface id, without its universal/local bit

_REFUSED: dict[str, tuple[str, ...]] = {  # reason -> networks
    "loopback": ("127.0.0.0/8", "::1/128"),
    "unspecified": ("0.0.0.0/8", "::/128"),
    "private": (
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # shared by a carrier's customers; some clouds have metadata services here
        "fc00::/7",
        "fec0::/10",
    ),
    "link-local": ("169.254.0.0/16", "fe80::/10"),  # includes cloud metadata, 169.254.169.254
    "cloud metadata": ("168.63.129.16/32",),  # Azure's address, outside the private ranges
    "multicast": ("224.0.0.0/4", "ff00::/8"),
    "tunnel": ("192.52.193.0/24", "2001:3::/32"),  # AMT relays, which forward multicast
    "IPv4 inside IPv6": (
        "::ffff:0:0/96",  # mapped
        "::ffff:0:0:0/96",  # translated
        "::/96",  # compatible
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "2002::/16",  # 6to4
        "2001::/32",  # Teredo
    ),
    "reserved": (
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "240.0.0.0/4",
        "2001::/23",
        "2001:db8::/32",
        "3fff::/20",
    ),
}
_NETWORKS: list[tuple[str, IPv4Network | IPv6Network]] = [
    (reason, ip_network(network)) for reason, networks in _REFUSED.items() for network in networks
]


def why_refused(address: str) -> str:
    """Return why this IP address is refused, in a few words, or "" if it is allowed."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "not an IP address"
    for reason, network in _NETWORKS:
        if parsed in network:
            return reason
    if parsed.version == 6 and parsed not in _PUBLIC_IPV6:
        return "reserved"
    if parsed.version == 6 and int(parsed) >> 32 & _ISATAP_MASK == 0x5EFE:
        return "IPv4 inside IPv6"
    return ""
