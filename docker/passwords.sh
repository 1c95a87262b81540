#!/bin/sh
# Makes what compose.yaml reads from secrets/ beside this file: a password for each user, an authority and its certificates, and a
# list of alert targets to be filled. What
# is there stays; delete a file, or a certificate with its key, to have it made anew. Prints names, never a secret.
#
#   sh docker/passwords.sh [NAME...]     names and IP addresses, beside localhost, by which others reach this machine
#
# Only the owner can enter the folder. The files in it that containers mount can be read by all, since containers have other uids.
set -eu
umask 077
folder=$(cd "$(dirname "$0")" && pwd)/secrets
mkdir -p "$folder"
chmod 700 "$folder"
new=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT

alt_names="DNS:localhost,IP:127.0.0.1"
for name in "$@"; do
    case $name in
        *[!0-9.]*) alt_names="$alt_names,DNS:$name" ;;
        *) alt_names="$alt_names,IP:$name" ;;
    esac
done

# keep MODE FILE...: into the folder, whole or not at all
keep() {
    mode=$1
    shift
    for file in "$@"; do
        chmod "$mode" "$new/$file"
        mv "$new/$file" "$folder/$file"
        echo "made $file"
    done
}

password() {
    [ -e "$folder/$1" ] && return
    openssl rand -hex 24 >"$new/$1"
    keep 644 "$1"
}

# signed NAME USES ALT_NAMES: leaves NAME.key and NAME.pem
signed() {
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$new/$1.key"
    openssl req -new -config "$new/config" -key "$new/$1.key" -subj "/O=stream-triage/CN=$1" -out "$new/$1.csr"
    {
        echo "basicConstraints=critical,CA:FALSE"
        echo "keyUsage=critical,digitalSignature"
        echo "extendedKeyUsage=$2"
        echo "subjectKeyIdentifier=hash"
        echo "authorityKeyIdentifier=keyid"
        echo "subjectAltName=$3"
    } >"$new/extensions"
    openssl x509 -req -in "$new/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -set_serial "0x$(openssl rand -hex 15)" \
        -days 825 -sha256 -extfile "$new/extensions" -out "$new/$1.pem" 2>"$new/errors" || { cat "$new/errors" >&2; exit 1; }
}

printf '[req]\ndistinguished_name=name\n[name]\n[authority]\n%s\n%s\n%s\n' "basicConstraints=critical,CA:TRUE" \
    "keyUsage=critical,keyCertSign,cRLSign" "subjectKeyIdentifier=hash" >"$new/config"

if [ ! -e "$folder/ca.pem" ]; then
    openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$new/ca.key"
    openssl req -x509 -new -config "$new/config" -extensions authority -key "$new/ca.key" -days 3650 -sha256 \
        -subj "/O=stream-triage/CN=authority" -out "$new/ca.pem"
    keep 600 ca.key
    keep 644 ca.pem
fi
if [ ! -e "$folder/kafka.pem" ]; then
    signed kafka serverAuth "DNS:kafka,$alt_names"
    cat "$new/kafka.pem" >>"$new/kafka.key" # Kafka wants both in one file
    mv "$new/kafka.key" "$new/kafka.pem"
    keep 644 kafka.pem
fi
if [ ! -e "$folder/opensearch.pem" ]; then
    signed opensearch serverAuth,clientAuth "DNS:opensearch,$alt_names"
    keep 644 opensearch.key opensearch.pem
fi
if [ ! -e "$folder/opensearch-authority.pem" ]; then
    signed opensearch-authority clientAuth "DNS:opensearch-authority"
    keep 644 opensearch-authority.key opensearch-authority.pem
fi
for user in admin worker sender; do
    password "kafka-$user"
done
for user in admin setup worker reader dashboards; do
    password "opensearch-$user"
done
if [ ! -e "$folder/alerts-targets" ]; then
    echo '{}' >"$new/alerts-targets" # who is told what: {"default": ["slack://…"], "radio": ["mailto://…"]}
    keep 644 alerts-targets
fi
if [ ! -e "$folder/dashboards.yml" ]; then
    printf 'opensearch.password: "%s"\nopensearch_security.cookie.password: "%s"\n' \
        "$(cat "$folder/opensearch-dashboards")" "$(openssl rand -hex 24)" >"$new/dashboards.yml"
    keep 644 dashboards.yml
fi
