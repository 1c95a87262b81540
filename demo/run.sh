#!/bin/sh
# Judges the sample runs and shows how to open one, in the terminal and in a browser. `run` exits with status 1 because three of the samples fail.
set -u
triage="${BIN:-.venv/bin}/stream-triage"
"$triage" run --config demo/settings.toml --quiet samples/tm500 || [ $? -eq 1 ] || exit
echo
echo "Open one with:"
echo "  $triage show --config demo/settings.toml rejected"
echo "or look at all of them in a browser: start the pages with"
echo "  $triage ui --config demo/settings.toml"
echo "and open http://127.0.0.1:8777"
