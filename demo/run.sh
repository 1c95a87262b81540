#!/bin/sh
# Judges the sample runs and shows how to open one. `run` exits with status 1 because three of the samples fail.
set -u
triage="${BIN:-.venv/bin}/stream-triage"
"$triage" run --config demo/settings.toml --quiet samples/tm500 || [ $? -eq 1 ] || exit
echo
echo "Open one with:"
echo "  $triage show --config demo/settings.toml rejected"
