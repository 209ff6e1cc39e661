
# rollout [--namespace=NAMESPACE] -- RESOURCE
rollout() {
    limited "$try_seconds" "$kubectl" rollout status --timeout="${watch_seconds}s" "$@"
}
