
# The end of what the last try said: without control characters, without the time and process id that kubectl puts
# before its warnings, which would make every try's answer a new one, and each repeated line once.
reason() {
    tail -c 100000 "$scratch/said" | tr -d '\000-\010\013-\037\177' |
        sed 's/^[EFIW][0-9]\{4\} [0-9:.]* *[0-9]* \([^ ]*\]\)/\1/' | uniq | tail -c 4000 | tail -n 20
}

# await SECONDS INTERVAL DESCRIPTION CHECK…: tries the check until it passes, or its time is over.
await() {
    limit=$1 interval=$2 what=$3
    shift 3
    say "waiting for $what (at most $limit s)"
    elapsed=0 shown=
    before=$(date +%s)
    while :; do
        left=$((limit - elapsed))
        [ "$left" -ge 5 ] || left=5
        "$@" >"$scratch/said" 2>&1
        result=$?
        now=$(date +%s)
        step=$((now - before))
        before=$now
        # A step that no try can take is a clock that was set meanwhile.
        if [ "$step" -lt 0 ] || [ "$step" -gt $((left + interval + 10)) ]; then
            step=$interval
        fi
        elapsed=$((elapsed + step))
        if [ "$result" -eq 0 ]; then
            say "ready after $elapsed s: $what"
            return
        fi
        reason=$(reason)
        [ -n "$reason" ] || reason="exit status $result, and not a word"
        if [ "$elapsed" -ge "$limit" ]; then
            say "NOT READY after $elapsed s: $what"
            printf '%s\n' "$reason" | sed 's/^/    /' >&2
            exit 1
        fi
        if [ "$reason" != "$shown" ]; then
            shown=$reason
            say "not yet: $what"
            printf '%s\n' "$reason" | sed 's/^/    /' >&2
        fi
        left=$((limit - elapsed))
        [ "$interval" -le "$left" ] || interval=$left
        sleep "$interval"
    done
}
