#!/usr/bin/env bash
# Run the whole pipeline on this machine: start the local cloud, build and deploy; upload a corpus, which trains
# and serves a model; generate text over HTTP; run again, which finds nothing new; list the datasets, the models and
# the costs.
# At the end the script deletes everything that it made. With the environment variable PLAYGROUND, it opens the web
# page instead, keeps everything, and says how to delete it.
# Usage: scripts/demo.sh [PATH]   (a text file, an archive, or a folder with them; default: three files of speeches)
# Exit codes: 0 success, 2 the file does not exist, any other: a command failed.
set -euo pipefail

if [ $# -gt 0 ] && [ ! -e "$1" ]; then
  echo "The file $1 does not exist. Give the path of a text file, an archive or a folder, as in: make demo DATA=speeches.txt" >&2
  exit 2
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/lexline-demo.XXXXXX")
export LEXLINE_HOME="$work/home"

heading() { printf '\n\033[1m== %s\033[0m\n' "$*"; }

delete_everything() {
  status=$?
  trap - EXIT INT TERM
  # Stop the local cloud even if nobody reads the output any more, as in `make demo | head`.
  set +e
  trap '' PIPE
  heading "Cleanup"
  lexline down --yes || status=1
  rm -rf "$work"
  exit "$status"
}
trap delete_everything EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

heading "1/6  Start the local cloud, build and deploy (with the SAM CLI; no AWS account, no Docker)"
lexline up --parameter Epochs=2 --parameter LogInterval=50

heading "2/6  Corpus"
if [ $# -gt 0 ]; then
  corpus=$1
  dataset=mine
else
  corpus="$work/State of the Union"
  dataset=state-of-the-union
  python scripts/sotu_corpus.py --words 250000 --files 3 "$corpus"
fi
echo "To save time, the demo trains for 2 epochs. The recipe's default is 10."

heading "3/6  Upload the corpus, which starts a run"
lexline run "$corpus" --dataset "$dataset"

heading "4/6  Generate text over HTTP"
lexline generate --words 80 --seed 111 --temperature 0.8 --curl

heading "5/6  Run again: nothing has changed, so the run trains nothing"
lexline run --dataset "$dataset"

heading "6/6  Datasets, models, and what they would cost on AWS"
lexline datasets
echo
lexline models
echo
lexline cost

if [ -n "${PLAYGROUND:-}" ] && [ "$PLAYGROUND" != 0 ]; then
  trap - EXIT INT TERM
  bin=$(dirname "$(command -v lexline)")
  heading "Playground: try the model in the browser"
  cat <<EOF
Ctrl-C stops the page. The local cloud keeps running, with the model. Later,

  LEXLINE_HOME=$LEXLINE_HOME $bin/lexline playground
  LEXLINE_HOME=$LEXLINE_HOME $bin/lexline down --yes && rm -r $work

open the page again, and delete everything that the demo made.

EOF
  exec lexline playground
fi
