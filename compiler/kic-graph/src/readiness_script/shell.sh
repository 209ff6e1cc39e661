
# shell COMMAND
shell() {
    limited "$left" sh -c "$1"
}
