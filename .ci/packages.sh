#!/bin/sh
# Install the system packages that the tests need, on Debian or Ubuntu, as root. Arguments name further packages.
set -eu
export DEBIAN_FRONTEND=noninteractive
[ -n "${DRIFTLINE_APT_UPDATED:-}" ] || apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    chromium haproxy kcat make nginx-light postgresql prometheus prometheus-alertmanager "$@" >/dev/null
# The tests run a Kafka broker. An installed Java and Maven are used as they are.
command -v java >/dev/null || apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless >/dev/null ||
    apt-get install -y -qq --no-install-recommends default-jre-headless >/dev/null
command -v mvn >/dev/null || apt-get install -y -qq --no-install-recommends maven >/dev/null
