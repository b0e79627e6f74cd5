from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.webhooks.addresses import why_refused


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("100.100.100.200", "private"),
        ("fd00:ec2::254", "private"),
        ("fec0::1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("168.63.129.16", "cloud metadata"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("::ffff:127.0.0.1", "IPv4 inside IPv6"),
        ("::ffff:8.8.8.8", "IPv4 inside IPv6"),
        ("::ffff:0:127.0.0.1", "IPv4 inside IPv6"),
        ("::7f00:1", "IPv4 inside IPv6"),
        ("64:ff9b::a9fe:a9fe", "IPv4 inside IPv6"),
        ("64:ff9b:1::1", "IPv4 inside IPv6"),
        ("2002:7f00:1::", "IPv4 inside IPv6"),
        ("2001:0:53aa:64c:0:0:80ff:fffe", "IPv4 inside IPv6"),
        ("192.0.0.192", "reserved"),
        ("192.88.99.1", "reserved"),
        ("198.18.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("2001:db8::1", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("example.org", "not an IP address"),
        ("0x7f000001", "not an IP address"),
    ],
)
def test_addresses_inside_are_refused_with_the_reason(address: str, reason: str) -> None:
    assert why_refused(address) == reason


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.0.1", "2606:4700::1111", "2a00::1"],
)
def test_public_addresses_are_let_through(address: str) -> None:
    assert why_refused(address) == ""


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_whatever_python_calls_private_is_refused(address: IPv4Address | IPv6Address) -> None:
    if not ip_address(str(address)).is_global and why_refused(str(address)) == "":
        pytest.fail(f"{address} is let through")
