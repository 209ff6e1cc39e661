
case $#:${1-} in
    0:) ;;
    1:--list)
        list
        exit
        ;;
    *)
        say "usage: $0 [--list]"
        exit 2
        ;;
esac
required
trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
scratch=$(mktemp -d) || exit 2
checks
