#!/bin/sh
# Makes the keys and passwords that deploy/compose.yaml expects, once.
set -eu
cd "$(dirname "$0")"
umask 077
if [ -e secrets ]; then
    echo "deploy/secrets is there already; nothing was changed"
    exit 0
fi
DRIFTLINE=${DRIFTLINE:-../.venv/bin/driftline} # as `make run` installs it
command -v "$DRIFTLINE" >/dev/null || { echo "$DRIFTLINE is not there: make run installs it" >&2; exit 1; }
# Made beside, and moved into place whole.
made=$(mktemp -d ./secrets.XXXXXX)
trap 'rm -rf "$made"' EXIT
export DRIFTLINE_KEYS_FILE="$PWD/$made/keys.json"
key() { "$DRIFTLINE" keys create --name "$1" --scope "$2" | grep -o 'dl_[0-9a-f]*_[0-9a-f]*'; }
key prometheus read > "$made"/prometheus-key
key operator operate > "$made"/operator-key
key application predict > "$made"/application-key
password() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$made/$1"; }
password grafana-password
password kafka-forwarder
password kafka-monitor
# What the monitor signs webhooks with, and the receiver verifies them by.
printf 'DRIFTLINE_MONITOR_WEBHOOK_SECRETS=whsec_%s\n' "$(head -c 32 /dev/urandom | base64)" > "$made"/webhook.env
# Prometheus shows its key to whom it scrapes.
sed 's|^    static_configs:|    authorization: {credentials_file: /run/secrets/prometheus-key}\n&|' \
    prometheus/prometheus.yml > "$made"/prometheus.yml
# Containers read them as another user.
chmod 0644 "$made/keys.json" "$made/prometheus-key" "$made/prometheus.yml" "$made"/*-password "$made"/kafka-*
chmod 0755 "$made"
mv "$made" secrets
echo "Wrote deploy/secrets: keys for applications, operators and Prometheus, what signs webhooks, passwords for Kafka's clients, and Grafana's (user admin)."
