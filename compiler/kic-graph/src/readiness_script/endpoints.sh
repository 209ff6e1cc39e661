
# endpoints COUNT [--namespace=NAMESPACE] -- endpoints/SERVICE
endpoints() {
    expected=$1
    shift
    limited "$(at_most 30)" "$kubectl" get --output=jsonpath='{range .subsets[*].addresses[*]}{.ip}{"\n"}{end}' "$@" >"$scratch/answer" || return
    all=0
    while IFS= read -r address || [ -n "$address" ]; do
        case $address in
            '' | *[!0-9a-fA-F.:]*)
                printf '"%s" is no address\n' "$address"
                return 1
                ;;
        esac
        all=$((all + 1))
    done <"$scratch/answer"
    [ "$all" -ge "$expected" ] && return
    printf '%s addresses are ready, and there should be %s\n' "$all" "$expected"
    return 1
}
