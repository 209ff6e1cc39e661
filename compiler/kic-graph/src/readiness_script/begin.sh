#!/bin/sh
# Waits until the cluster passes the checks at the end of this file, one after the other.
#
#   (no argument)   wait; what it waits for goes to standard error
#   --list          print the checks
#
# Exit status: 0 every check passed; 1 a check did not pass within its time; 2 a program is missing, or wrong use.
# KUBECTL names the kubectl to use. Written by kic; the same checks stand as JSON in the image's readiness folder.
#
# Texts of the spec stand in single quotes, so that the shell expands nothing in them:
# shellcheck disable=SC2016
set -u

scratch=
running=
tries=0

say() {
    printf '%s: %s\n' "$name" "$*" >&2
}

# needs PROGRAM [OTHER]: one of them must be there.
needs() {
    for program in "$@"; do
        command -v "$program" >/dev/null && return
    done
    [ $# -eq 1 ] || set -- "$1 or $2"
    say "there is no $1 on this machine"
    exit 2
}

clean_up() {
    # A shell that has just forked can lose the first signal, but not the second one.
    [ -z "$running" ] || { kill "$running" && sleep 1 && kill -9 "$running"; } 2>/dev/null
    [ -z "$scratch" ] || rm -rf "$scratch"
}

# at_most SECONDS: so many seconds, or what is left of the check's time. Even the last try has a few seconds, as
# kubectl alone takes one or two to start on a busy machine.
at_most() {
    if [ "$1" -le "$left" ]; then echo "$1"; else echo "$left"; fi
}

# limited SECONDS COMMAND…: runs the command, and ends it when it takes longer. A file stands for each one that
# runs, and a second process looks at it: signals between shells get lost, and a process id is soon another's.
limited() {
    seconds=$1
    shift
    tries=$((tries + 1))
    mark=$scratch/$tries
    : >"$mark"
    "$@" </dev/null &
    running=$!
    (
        remaining=$seconds
        while [ -e "$mark" ] && [ "$remaining" -gt 0 ]; do
            sleep 1
            remaining=$((remaining - 1))
        done
        [ -e "$mark" ] || exit
        : >"$mark.late"
        kill "$running"
        sleep 2
        [ ! -e "$mark" ] || kill -9 "$running"
    ) >/dev/null 2>&1 &
    wait "$running"
    result=$?
    running=
    rm -f "$mark"
    [ ! -e "$mark.late" ] || echo "no answer within $seconds s" >&2
    return "$result"
}
