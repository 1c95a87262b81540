#!/bin/sh
# Creates the users of Kafka and their rights, as listed in docs/reliability.md. Can be repeated; it then sets the passwords from the
# files again. Arguments: the address of the broker, the folder of the passwords.
set -eu
server=$1
folder=$2
umask 077
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

for user in admin worker sender; do # from a file, because every user can see the arguments of a process
    printf 'SCRAM-SHA-512=password=%s\n' "$(cat "$folder/kafka-$user")" >"$new/$user"
    kafka-configs.sh --bootstrap-server "$server" --alter --entity-type users --entity-name "$user" --add-config-file "$new/$user"
done

allow() {
    user=$1
    shift
    kafka-acls.sh --bootstrap-server "$server" --force --add --allow-principal "User:$user" "$@"
}
allow worker --operation Read --group stream-triage
allow worker --operation Read --operation Describe --topic triage.logs
allow worker --operation Read --operation Write --operation Describe --operation Alter --topic triage.runs
allow worker --operation Write --operation Describe --topic triage.verdicts --topic triage.provisional --topic triage.dead
allow sender --operation Write --operation Describe --topic triage.logs
