
# condition NAME=STATUS [--all] [--namespace=NAMESPACE] -- RESOURCE…
condition() {
    expected=$1
    shift
    limited "$(at_most 30)" "$kubectl" wait --for="condition=$expected" --timeout="$(at_most 5)s" "$@"
}
