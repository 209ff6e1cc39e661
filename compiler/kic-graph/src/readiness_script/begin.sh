#!/bin/sh
# Waits until the cluster passes the checks at the end of this file, one after the other.
#
#   (no argument)   wait; what it waits for goes to standard error
#   --list          print the checks
#
# Exit status: 0 every check passed; 1 a check did not pass within its time; 2 a program is missing, or wrong use.
# KUBECTL names the kubectl to use. Written by kic; the same checks stand as JSON in the image's readiness folder.
set -u

kubectl=${KUBECTL:-kubectl}
scratch=
running=
watchdog=

say() {
    printf '%s: %s\n' "$name" "$*" >&2
}

# needs PROGRAM…: one of them must be there.
needs() {
    for program in "$@"; do
        command -v "$program" >/dev/null && return
    done
    say "there is no $* on this machine"
    exit 2
}

clean_up() {
    for process in $running $watchdog; do
        kill "$process" 2>/dev/null
    done
    [ -z "$scratch" ] || rm -rf "$scratch"
}

# limited SECONDS COMMAND…: runs the command, and ends it when it takes longer.
limited() {
    seconds=$1
    shift
    rm -f "$scratch/late"
    "$@" </dev/null &
    running=$!
    (
        sleeper=
        trap 'kill "$sleeper"; exit' TERM
        sleep "$seconds" &
        sleeper=$!
        wait "$sleeper"
        : >"$scratch/late"
        kill "$running"
        sleep 2
        kill -9 "$running"
    ) >/dev/null 2>&1 &
    watchdog=$!
    wait "$running"
    result=$?
    running=
    kill "$watchdog" 2>/dev/null
    wait "$watchdog" 2>/dev/null
    watchdog=
    [ ! -e "$scratch/late" ] || echo "no answer within $seconds s" >&2
    return "$result"
}
