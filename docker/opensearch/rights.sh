#!/bin/sh
# Creates the roles and users of OpenSearch. Can be repeated; it then sets the passwords from the files again.
# Arguments: the address of OpenSearch, the folder of passwords and certificates, the folder of the roles.
set -eu
server=$1
secrets=$2
roles=$3

# put PATH: the body comes from standard input, because every user can see the arguments of a process
put() {
    curl --silent --show-error --fail-with-body --max-time 60 --request PUT --header "Content-Type: application/json" \
        --cacert "$secrets/ca.pem" --cert "$secrets/opensearch-authority.pem" --key "$secrets/opensearch-authority.key" \
        --data-binary @- "$server/_plugins/_security/api/$1"
    echo
}

for role in worker setup reader; do
    put "roles/stream_triage_$role" <"$roles/$role.json"
done

# user NAME ROLES: roles as a JSON array
user() {
    printf '{"password": "%s", "opendistro_security_roles": %s}' "$(cat "$secrets/opensearch-$1")" "$2" | put "internalusers/$1"
}
user admin '["all_access"]'
user setup '["stream_triage_worker", "stream_triage_setup", "kibana_user"]'
user worker '["stream_triage_worker"]'
user reader '["stream_triage_reader", "kibana_user"]'
user dashboards '["kibana_server"]'
