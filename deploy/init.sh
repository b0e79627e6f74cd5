#!/bin/sh
# Creates the keys and passwords that deploy/compose.yaml needs. Does nothing if they exist.
set -eu
cd "$(dirname "$0")"
umask 077
if [ -e secrets ]; then
    echo "deploy/secrets already exists; nothing was changed"
    exit 0
fi
DRIFTLINE=${DRIFTLINE:-../.venv/bin/driftline} # where make installs it
command -v "$DRIFTLINE" >/dev/null || { echo "$DRIFTLINE does not exist; install it with: make .venv/.run" >&2; exit 1; }
# The folder is created under a temporary name and renamed when it is complete.
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
# The monitor signs webhooks with this secret, and the example receiver verifies them with it.
printf 'DRIFTLINE_MONITOR_WEBHOOK_SECRETS=whsec_%s\n' "$(head -c 32 /dev/urandom | base64)" > "$made"/webhook.env
# Prometheus sends its key to the processes that it scrapes.
sed 's|^    static_configs:|    authorization: {credentials_file: /run/secrets/prometheus-key}\n&|' \
    prometheus/prometheus.yml > "$made"/prometheus.yml
# The containers read these files as another user.
chmod 0644 "$made/keys.json" "$made/prometheus-key" "$made/prometheus.yml" "$made"/*-password "$made"/kafka-*
chmod 0755 "$made"
mv "$made" secrets
echo "Wrote deploy/secrets: keys for applications, operators and Prometheus, the webhook secret, passwords of Kafka's clients, and Grafana's password (user admin)."
