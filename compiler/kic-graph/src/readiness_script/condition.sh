
# condition NAME=STATUS [--all] [--namespace=NAMESPACE] -- RESOURCE…
condition() {
    expected=$1
    shift
    limited "$try_seconds" "$kubectl" wait --for="condition=$expected" --timeout="${watch_seconds}s" "$@"
}
