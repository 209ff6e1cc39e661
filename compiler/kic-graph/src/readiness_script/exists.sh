
# exists [--namespace=NAMESPACE] -- RESOURCE
exists() {
    limited "$(at_most 30)" "$kubectl" get --output=name "$@" >"$scratch/answer" || return
    [ -s "$scratch/answer" ] || {
        echo 'there is none yet'
        return 1
    }
}
