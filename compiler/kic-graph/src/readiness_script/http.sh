
# http URL STATUS secure|insecure
http() {
    url=$1 expected=$2 security=$3
    if command -v curl >/dev/null; then
        set -- --disable --silent --show-error --globoff --output /dev/null --write-out '%{http_code}'
        [ "$security" = secure ] || set -- "$@" --insecure
        limited "$(at_most 30)" curl "$@" --url "$url" >"$scratch/answer" || return
        status=$(cat "$scratch/answer")
    else
        set -- -S -O /dev/null
        [ "$security" = secure ] || set -- "$@" --no-check-certificate
        # wget fails on a status of 400 or more, even where that is the expected one. The first status is that of
        # the URL itself; others are those of the places that it redirects to.
        limited "$(at_most 30)" wget "$@" -- "$url" >"$scratch/answer" 2>&1
        status=$(sed -n 's|^ *HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' "$scratch/answer" | head -n 1)
        if [ -z "$status" ]; then
            cat "$scratch/answer"
            return 1
        fi
    fi
    [ "$status" = "$expected" ] && return
    echo "the answer is $status, not $expected"
    return 1
}
