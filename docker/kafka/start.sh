#!/bin/sh
# Starts the broker; formats its data folder the first time. Argument: the properties file.
set -eu
data=$(sed -n 's/^log\.dirs=//p' "$1")
[ -e "$data/meta.properties" ] || kafka-storage.sh format --cluster-id "$(kafka-storage.sh random-uuid)" --config "$1"
exec kafka-server-start.sh "$1"
