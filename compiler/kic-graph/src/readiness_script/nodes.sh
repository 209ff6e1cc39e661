
# nodes COUNT
nodes() {
    expected=$1
    limited "$(at_most 30)" "$kubectl" get --output=jsonpath='{range .items[*]}{.metadata.name}{"|"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' -- nodes >"$scratch/answer" || return
    all=0 good=0 other=
    while IFS='|' read -r node status || [ -n "$node" ]; do
        all=$((all + 1))
        if [ "$status" = True ]; then
            good=$((good + 1))
        else
            other="; $node is not: its condition Ready is \"$status\""
        fi
    done <"$scratch/answer"
    [ "$good" -eq "$all" ] && [ "$all" -ge "$expected" ] && return
    printf '%s of %s nodes are ready, and there should be %s%s\n' "$good" "$all" "$expected" "$other"
    return 1
}
