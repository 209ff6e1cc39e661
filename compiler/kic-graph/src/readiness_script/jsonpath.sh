
# jsonpath one|each EXPECTED [--namespace=NAMESPACE] --output=jsonpath=PATH -- RESOURCE
# With `each`, the answer holds the value of every object on a line of its own, and all must be as expected.
jsonpath() {
    objects=$1 expected=$2
    shift 2
    limited "$(at_most 30)" "$kubectl" get "$@" >"$scratch/answer" || return
    if [ "$objects" = one ]; then
        value=$(cat "$scratch/answer")
        [ "$value" = "$expected" ] && return
        printf 'the value is "%s", not "%s"\n' "$value" "$expected"
        return 1
    fi
    all=0 good=0 other=
    while IFS= read -r value || [ -n "$value" ]; do
        all=$((all + 1))
        if [ "$value" = "$expected" ]; then
            good=$((good + 1))
        else
            other=$value
        fi
    done <"$scratch/answer"
    if [ "$all" -eq 0 ]; then
        echo 'there is none yet'
        return 1
    fi
    [ "$good" -eq "$all" ] && return
    printf '%s of %s have the value "%s"; another is "%s"\n' "$good" "$all" "$expected" "$other"
    return 1
}
