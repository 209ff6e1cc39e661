
# admits OBJECT
admits() {
    printf '%s\n' "$1" >"$scratch/object.json"
    limited "$(at_most 30)" "$kubectl" create --dry-run=server --output=name --filename="$scratch/object.json" >"$scratch/answer" || return
    [ -s "$scratch/answer" ] || {
        echo 'there is no answer to the dry run'
        return 1
    }
}
