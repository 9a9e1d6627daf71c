#!/bin/sh
# step.sh LABEL COMMAND...: run a slow, quiet command with one line of progress.
# Its output is shown only when it fails.
label=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
start=$(date +%s)
"$@" >"$log" 2>&1 &
child=$!
trap 'kill "$child" 2>/dev/null; wait "$child"; exit 130' INT TERM
if [ -t 1 ]; then
    while kill -0 "$child" 2>/dev/null; do
        printf '\r  %s ... %ss' "$label" "$(($(date +%s) - start))"
        sleep 1
    done
    printf '\r'
fi
if wait "$child"; then
    echo "  $label: done in $(($(date +%s) - start)) s"
else
    status=$?
    echo "  $label: failed"
    tail -n 30 "$log"
    exit "$status"
fi
