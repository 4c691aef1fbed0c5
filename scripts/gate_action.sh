#!/usr/bin/env bash
# The two steps of action.yml: `gate_action.sh install` and `gate_action.sh gate`. Everything comes in through the
# environment (GATE_*); tests/test_gate_how_to.py runs the same steps. Works with the bash 3.2 of macOS.
set -uo pipefail

lines=()
take_lines() { # the lines of $1 that are not empty, as the array `lines`
  lines=()
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    line="${line%$'\r'}"
    if [ -n "$line" ]; then lines+=("$line"); fi
  done <<<"$1"
}

case "${1:-}" in
install)
  take_lines "${GATE_INSTALL:-}"
  python -m pip install --disable-pip-version-check --quiet \
    "${GITHUB_ACTION_PATH:?is the folder of the action}" ${lines[@]+"${lines[@]}"}
  ;;
gate)
  arguments=()
  option() { if [ -n "$2" ]; then arguments+=("$1=$2"); fi; }
  option --rules "${GATE_RULES:-}"
  option --baseline "${GATE_BASELINE:-}"
  option --store "${GATE_STORE:-}"
  option --junit "${GATE_JUNIT:-}"
  take_lines "${GATE_ARGS:-}"
  arguments+=(${lines[@]+"${lines[@]}"})
  arguments+=(-- "${GATE_MODEL:?the input model is empty}") # behind "--" a name may begin with a dash
  if [ -n "${GATE_DATASET:-}" ]; then arguments+=("$GATE_DATASET"); fi
  python -m repdiag gate "${arguments[@]}"
  code=$?
  case "$code" in
  0) outcome=pass ;;
  1) outcome=fail ;;
  4) outcome=undetermined ;;
  *) outcome=error ;;
  esac
  printf 'outcome=%s\nexit-code=%s\n' "$outcome" "$code" >>"${GITHUB_OUTPUT:-/dev/null}"
  exit "$code"
  ;;
*)
  echo "usage: gate_action.sh install|gate" >&2
  exit 2
  ;;
esac
