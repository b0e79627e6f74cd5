#!/bin/sh
# The system packages that the tests need, on Debian or Ubuntu, as root; words after it are further packages.
set -eu
export DEBIAN_FRONTEND=noninteractive
[ -n "${DRIFTLINE_APT_UPDATED:-}" ] || apt-get update -qq
apt-get install -y -qq --no-install-recommends \
    chromium haproxy kcat make nginx-light postgresql prometheus prometheus-alertmanager "$@" >/dev/null
# Kafka's broker runs in the tests; a Java and a Maven that are there already are good enough.
command -v java >/dev/null || apt-get install -y -qq --no-install-recommends openjdk-17-jre-headless >/dev/null ||
    apt-get install -y -qq --no-install-recommends default-jre-headless >/dev/null
command -v mvn >/dev/null || apt-get install -y -qq --no-install-recommends maven >/dev/null
