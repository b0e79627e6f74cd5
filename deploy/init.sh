#!/bin/sh
# Makes the keys and passwords that deploy/compose.yaml expects, once.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
if [ -e secrets/keys.json ]; then
    echo "deploy/secrets is there already; nothing was changed"
    exit 0
fi
DRIFTLINE=${DRIFTLINE:-driftline}
export DRIFTLINE_KEYS_FILE="$PWD/secrets/keys.json"
key() { "$DRIFTLINE" keys create --name "$1" --scope "$2" | grep -o 'dl_[0-9a-f]*_[0-9a-f]*'; }
key prometheus read > secrets/prometheus-key
key operator operate > secrets/operator-key
key application predict > secrets/application-key
od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > secrets/grafana-password
# Prometheus shows its key to whom it scrapes.
sed 's|^    static_configs:|    authorization: {credentials_file: /run/secrets/prometheus-key}\n&|' \
    prometheus/prometheus.yml > secrets/prometheus.yml
# Containers read them as another user.
chmod 0644 secrets/keys.json secrets/prometheus-key secrets/prometheus.yml secrets/grafana-password
echo "Wrote deploy/secrets: keys for applications, operators and Prometheus, and Grafana's password (user admin)."
