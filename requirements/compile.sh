#!/bin/sh
# Pins every dependency with its hashes, for Python 3.11 and newer on every platform. Needs `uv` on the PATH.
set -eu
cd "$(dirname "$0")/.."
pin() {
    out=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --no-annotate --no-header "$@" pyproject.toml --output-file "requirements/$out"
}
pin run.txt --extra alerts --extra kafka --extra opensearch
echo 'cachetools>=5.5' >"${TMPDIR:-/tmp}/overrides.$$"
pin dev.txt --extra alerts --extra kafka --extra opensearch --extra train --group dev --group track --group baselines --override "${TMPDIR:-/tmp}/overrides.$$"
rm "${TMPDIR:-/tmp}/overrides.$$"
pin peers.txt --group peers
# Only what builds the wheel, without what the package needs.
uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
    --group build --output-file requirements/build.txt
