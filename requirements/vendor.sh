#!/bin/sh
# Writes stream_triage/web/static/htmx.min.js and its licence from the npm package, whose hash must be the one below. Needs
# `npm` and `sha512sum`. For another version: change both, run this, then the tests of the pages.
set -eu
version=2.0.11
sha512=4e1c7f5ada5e390a92aea042c3f0357301891a0e14ad56b7fac5b41a6accde9e202603bcf5e707e2ab5b9f2cc30d616f053aa39c83028042d336deb7e9db5a98
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -r "$work"' EXIT
npm pack --silent --pack-destination "$work" "htmx.org@$version" >/dev/null
echo "$sha512  $work/htmx.org-$version.tgz" | sha512sum --check --quiet
tar -xzf "$work/htmx.org-$version.tgz" -C "$work"
cp "$work/package/dist/htmx.min.js" stream_triage/web/static/htmx.min.js
cp "$work/package/LICENSE" stream_triage/web/static/htmx.LICENSE
