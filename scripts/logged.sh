#!/usr/bin/env bash
# Run a command with its output in a log. Ended well, its last line is shown, which says what was
# done; otherwise the end of the log, so that nobody has to look for it. What takes long says every
# KERNELDEFS_PROGRESS seconds (60) where it is.
#
#     bash scripts/logged.sh LOG COMMAND...
log=$1
shift

# In the background, since a command in the background would not be interrupted by Ctrl-C. It waits by
# a builtin that nothing ever answers: a `sleep` would outlive it, with the terminal open.
progress() {
    exec 3<> <(:)
    until read -rt "${KERNELDEFS_PROGRESS:-60}" -u 3 || ! kill -0 $$ 2> /dev/null; do
        printf '%s, %d s so far: %s\n' "$log" "$SECONDS" "$(tail -n 1 "$log")"
    done
}
progress &
trap 'kill "$!" 2> /dev/null' EXIT

if "$@" > "$log" 2>&1; then
    tail -n 1 "$log"
else
    code=$?
    printf '\n%s failed with exit code %s; the end of its log, %s:\n' "$2" "$code" "$log" >&2
    tail -n 25 "$log" >&2
    exit "$code"
fi
