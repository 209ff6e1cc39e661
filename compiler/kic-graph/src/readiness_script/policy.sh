
# policy one|each [--namespace=NAMESPACE] -- RESOURCE
# Engines say it in status.ready, in status.conditionStatus.ready, or by the condition Ready. A policy is ready when
# one of them says so, and none says otherwise.
policy() {
    objects=$1
    shift
    path='{.metadata.name}{"|"}{.status.ready}{"|"}{.status.conditionStatus.ready}{"|"}{.status.conditions[?(@.type=="Ready")].status}{"|"}{.status.conditions[?(@.type=="Ready")].reason}{"\n"}'
    [ "$objects" = one ] || path="{range .items[*]}$path{end}"
    limited "$(at_most 30)" "$kubectl" get --output=jsonpath="$path" "$@" >"$scratch/answer" || return
    all=0 good=0 other=
    while IFS='|' read -r name_of ready status condition why || [ -n "$name_of" ]; do
        all=$((all + 1))
        case $ready:$status:$condition in
            true:: | true:true: | true::True | true:true:True | :true: | :true:True | ::True) good=$((good + 1)) ;;
            ::) other="$name_of says nothing of it" ;;
            *) other="$name_of says ready=$ready$status Ready=$condition $why" ;;
        esac
    done <"$scratch/answer"
    if [ "$all" -eq 0 ]; then
        echo 'there is none yet'
        return 1
    fi
    [ "$good" -eq "$all" ] && return
    printf '%s of %s policies are ready; %s\n' "$good" "$all" "$other"
    return 1
}
