#!/bin/sh
# Writes the requirement files: every package pinned with its hashes, for Python 3.11 and newer on every platform. Needs `uv`.
# Pinned versions stay; `compile.sh --upgrade` or `compile.sh --upgrade-package NAME` moves them.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT

# pin FILE COMMON-OPTIONS...: the versions in requirements/FILE stay where they fit.
pin() {
    file=$1
    shift
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
        --no-annotate --no-header "$@" --output-file "requirements/$file"
}

# run, dev, train and track end up in one environment, so each keeps to the versions of those before it; the users' come
# first. The one exception: drain3 asks for an old cachetools, which MLflow cannot use, and works with a newer one.
pin run.txt "$@" --extra alerts --extra kafka --extra opensearch --extra ui pyproject.toml
pin dev.txt "$@" --group dev --constraint requirements/run.txt
pin train.txt "$@" --group train --constraint requirements/run.txt --constraint requirements/dev.txt
sed '/^cachetools==/,/[^\\]$/d' requirements/run.txt >"$work/run.txt"
pin track.txt "$@" --group track --constraint "$work/run.txt" --constraint requirements/dev.txt \
    --constraint requirements/train.txt
# These have environments of their own.
pin build.txt "$@" --group build
pin mutants.txt "$@" --group mutants
pin peers.txt "$@" --group peers pyproject.toml
