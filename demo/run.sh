#!/bin/sh
# Judges the sample runs and says how to open one. Status 1 of `run` is right here: it means that some runs did not pass.
set -u
triage="${BIN:-.venv/bin}/stream-triage"
"$triage" run --config demo/settings.toml --quiet samples/tm500 || [ $? -eq 1 ] || exit
echo
echo "Open one with:"
echo "  $triage show --config demo/settings.toml rejected"
