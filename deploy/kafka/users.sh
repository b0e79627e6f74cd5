#!/bin/sh
# Gives the broker's users their passwords and no more rights than they need; run beside the broker
# each time it is started, so that new secrets are taken up.
set -eu
kafka() { # the tool, and what it is asked
    tool=$1
    shift
    "/opt/kafka/bin/kafka-$tool.sh" --bootstrap-server 127.0.0.1:9094 "$@"
}
password() {
    kafka configs --alter --entity-type users --entity-name "$1" \
        --add-config "SCRAM-SHA-512=[password=$(cat "/run/secrets/kafka-$1")]"
}
allow() {
    user=$1
    shift
    kafka acls --add --allow-principal "User:$user" --resource-pattern-type prefixed "$@"
}
password forwarder
password monitor
allow forwarder --operation Write --operation Describe --topic driftline.
allow monitor --operation Read --operation Describe --topic driftline. --group driftline-monitor
