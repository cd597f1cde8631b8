#!/usr/bin/env bash
# Run a command with its output in a log. Ended well, its last line is shown, which says what was
# done; otherwise the end of the log, so that nobody has to look for it.
#
#     bash scripts/logged.sh LOG COMMAND...
log=$1
shift
if "$@" > "$log" 2>&1; then
    tail -n 1 "$log"
else
    code=$?
    printf '\n%s failed with exit code %s; the end of its log, %s:\n' "$2" "$code" "$log" >&2
    tail -n 25 "$log" >&2
    exit "$code"
fi
