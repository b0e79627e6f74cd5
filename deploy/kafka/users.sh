#!/bin/sh
# Sets the passwords and minimal permissions of the broker's users. Runs at each start of the broker,
# so that changed passwords take effect.
set -eu
kafka() { # arguments: the tool's name and its arguments
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
