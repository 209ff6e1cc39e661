
# rollout [--namespace=NAMESPACE] -- RESOURCE
rollout() {
    limited "$(at_most 30)" "$kubectl" rollout status --timeout="$(at_most 5)s" "$@"
}
