
# exists [--namespace=NAMESPACE] -- RESOURCE
exists() {
    limited "$try_seconds" "$kubectl" get --output=name "$@" >"$scratch/answer" || return 1
    [ -s "$scratch/answer" ] || {
        echo 'there is none yet'
        return 1
    }
}
