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
        ("2002:a9fe:a9fe::1", "IPv4 inside IPv6"),
        ("::ffff:169.254.169.254", "IPv4 inside IPv6"),
        ("64:ff9b::10.0.0.1", "IPv4 inside IPv6"),
        ("2606:4700::5efe:10.0.0.1", "IPv4 inside IPv6"),
        ("2606:4700::200:5efe:127.0.0.1", "IPv4 inside IPv6"),
        ("fd20:ce::254", "private"),
        ("fc00::1", "private"),
        ("fdff:ffff::1", "private"),
        ("100.127.255.255", "private"),
        ("169.254.170.2", "link-local"),
        ("169.254.0.1", "link-local"),
        ("febf::1", "link-local"),
        ("0.255.255.255", "unspecified"),
        ("192.52.193.1", "tunnel"),
        ("2001:3::1", "tunnel"),
        ("5f00::1", "reserved"),
        ("240.0.0.1", "reserved"),
        ("203.0.113.7", "reserved"),
        ("0177.0.0.1", "not an IP address"),
        ("2130706433", "not an IP address"),
        ("", "not an IP address"),
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
def test_internal_addresses_are_refused_with_the_reason(address: str, reason: str) -> None:
    assert why_refused(address) == reason


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "172.15.255.255",
        "172.32.0.1",
        "100.63.255.255",
        "100.128.0.1",
        "169.253.255.255",
        "169.255.0.1",
        "126.255.255.255",
        "128.0.0.1",
        "1.0.0.0",
        "168.63.129.15",
        "168.63.129.17",
        "192.88.98.1",
        "223.255.255.255",
        "2606:4700::1111",
        "2a00::1",
        "2003::1",
        "2001:200::1",
        "2606:4700::5eff:8.8.8.8",
    ],
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert why_refused(address) == ""


@given(st.integers(0, 2**32 - 1).map(IPv4Address) | st.integers(0, 2**128 - 1).map(IPv6Address))
def test_addresses_that_python_calls_private_are_refused(
    address: IPv4Address | IPv6Address,
) -> None:
    if not ip_address(str(address)).is_global and why_refused(str(address)) == "":
        pytest.fail(f"{address} is let through")
