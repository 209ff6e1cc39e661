#!/bin/sh
# Waits until the cluster passes the checks at the end of this file, one after the other.
#
#   (no argument)   wait; what it waits for goes to standard error
#   --list          print the checks
#
# Exit status: 0 every check passed; 1 a check did not pass within its time; 2 a program is missing, or wrong use.
# KUBECTL names the kubectl to use. Written by kic; the same checks stand as JSON in the image's readiness folder.
#
# Texts of the spec stand in single quotes, so that the shell expands nothing in them:
# shellcheck disable=SC2016
set -u

scratch=
running=
tries=0

say() {
    printf '%s: %s\n' "$name" "$*" >&2
}

# needs PROGRAM [OTHER]: one of them must be there.
needs() {
    for program in "$@"; do
        command -v "$program" >/dev/null && return
    done
    [ $# -eq 1 ] || set -- "$1 or $2"
    say "there is no $1 on this machine"
    exit 2
}

clean_up() {
    # A shell that has just forked can lose the first signal, but not the second one.
    [ -z "$running" ] || { kill "$running" && sleep 1 && kill -9 "$running"; } 2>/dev/null
    [ -z "$scratch" ] || rm -rf "$scratch"
}

# at_most SECONDS: so many seconds, or what is left of the check's time. Even the last try has a few seconds, as
# kubectl alone takes one or two to start on a busy machine.
at_most() {
    if [ "$1" -le "$left" ]; then echo "$1"; else echo "$left"; fi
}

# limited SECONDS COMMAND…: runs the command, and ends it when it takes longer. A file stands for each one that
# runs, and a second process looks at it: signals between shells get lost, and a process id is soon another's.
limited() {
    seconds=$1
    shift
    tries=$((tries + 1))
    mark=$scratch/$tries
    : >"$mark"
    "$@" </dev/null &
    running=$!
    (
        remaining=$seconds
        while [ -e "$mark" ] && [ "$remaining" -gt 0 ]; do
            sleep 1
            remaining=$((remaining - 1))
        done
        [ -e "$mark" ] || exit
        : >"$mark.late"
        kill "$running"
        sleep 2
        [ ! -e "$mark" ] || kill -9 "$running"
    ) >/dev/null 2>&1 &
    wait "$running"
    result=$?
    running=
    rm -f "$mark"
    [ ! -e "$mark.late" ] || echo "no answer within $seconds s" >&2
    return "$result"
}

# admits OBJECT
admits() {
    printf '%s\n' "$1" >"$scratch/object.json"
    limited "$(at_most 30)" "$kubectl" create --dry-run=server --output=name --filename="$scratch/object.json" >"$scratch/answer" || return
    [ -s "$scratch/answer" ] || {
        echo 'there is no answer to the dry run'
        return 1
    }
}

# condition NAME=STATUS [--all] [--namespace=NAMESPACE] -- RESOURCE…
condition() {
    expected=$1
    shift
    limited "$(at_most 30)" "$kubectl" wait --for="condition=$expected" --timeout="$(at_most 5)s" "$@"
}

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

# exists [--namespace=NAMESPACE] -- RESOURCE
exists() {
    limited "$(at_most 30)" "$kubectl" get --output=name "$@" >"$scratch/answer" || return
    [ -s "$scratch/answer" ] || {
        echo 'there is none yet'
        return 1
    }
}

# http URL STATUS secure|insecure
http() {
    url=$1 expected=$2 security=$3
    if command -v curl >/dev/null; then
        set -- --disable --silent --show-error --globoff --output /dev/null --write-out '%{http_code}'
        [ "$security" = secure ] || set -- "$@" --insecure
        limited "$(at_most 30)" curl "$@" --url "$url" >"$scratch/answer" || return
        status=$(cat "$scratch/answer")
    else
        set -- -S -O /dev/null
        [ "$security" = secure ] || set -- "$@" --no-check-certificate
        # wget fails on a status of 400 or more, even where that is the expected one. The first status is that of
        # the URL itself; others are those of the places that it redirects to.
        limited "$(at_most 30)" wget "$@" -- "$url" >"$scratch/answer" 2>&1
        status=$(sed -n 's|^ *HTTP/[0-9.]* \([0-9][0-9][0-9]\).*|\1|p' "$scratch/answer" | head -n 1)
        if [ -z "$status" ]; then
            cat "$scratch/answer"
            return 1
        fi
    fi
    [ "$status" = "$expected" ] && return
    echo "the answer is $status, not $expected"
    return 1
}

# jsonpath one|each EXPECTED [--namespace=NAMESPACE] --output=jsonpath=PATH -- RESOURCE
# With `each`, the answer holds the value of every object on a line of its own, and all must be as expected.
jsonpath() {
    objects=$1 expected=$2
    shift 2
    limited "$(at_most 30)" "$kubectl" get "$@" >"$scratch/answer" || return
    if [ "$objects" = one ]; then
        value=$(cat "$scratch/answer")
        [ "$value" = "$expected" ] && return
        printf 'the value is "%s", not "%s"\n' "$value" "$expected"
        return 1
    fi
    all=0 good=0 other=
    while IFS= read -r value || [ -n "$value" ]; do
        all=$((all + 1))
        if [ "$value" = "$expected" ]; then
            good=$((good + 1))
        else
            other=$value
        fi
    done <"$scratch/answer"
    if [ "$all" -eq 0 ]; then
        echo 'there is none yet'
        return 1
    fi
    [ "$good" -eq "$all" ] && return
    printf '%s of %s have the value "%s"; another is "%s"\n' "$good" "$all" "$expected" "$other"
    return 1
}

# nodes COUNT
nodes() {
    expected=$1
    limited "$(at_most 30)" "$kubectl" get --output=jsonpath='{range .items[*]}{.metadata.name}{"|"}{.status.conditions[?(@.type=="Ready")].status}{"\n"}{end}' -- nodes >"$scratch/answer" || return
    all=0 good=0 other=
    while IFS='|' read -r node status || [ -n "$node" ]; do
        all=$((all + 1))
        if [ "$status" = True ]; then
            good=$((good + 1))
        else
            other="; $node is not: its condition Ready is \"$status\""
        fi
    done <"$scratch/answer"
    [ "$good" -eq "$all" ] && [ "$all" -ge "$expected" ] && return
    printf '%s of %s nodes are ready, and there should be %s%s\n' "$good" "$all" "$expected" "$other"
    return 1
}

# policy one|each [--namespace=NAMESPACE] -- RESOURCE
# Engines say it in status.ready, in status.conditionStatus.ready, or by the condition Ready. A policy is ready when
# one of them says so, and none says otherwise.
policy() {
    objects=$1
    shift
    path='{.metadata.name}{"|"}{.status.ready}{"|"}{.status.conditionStatus.ready}{"|"}{.status.conditions[?(@.type=="Ready")].status}{"|"}{.status.conditions[?(@.type=="Ready")].reason}{"\n"}'
    [ "$objects" = one ] || path="{range .items[*]}$path{end}"
    limited "$(at_most 30)" "$kubectl" get --output=jsonpath="$path" "$@" >"$scratch/answer" || return
    all=0 good=0 other=
    while IFS='|' read -r name_of ready status condition why || [ -n "$name_of" ]; do
        all=$((all + 1))
        case $ready:$status:$condition in
            true:: | true:true: | true::True | true:true:True | :true: | :true:True | ::True) good=$((good + 1)) ;;
            ::) other="$name_of says nothing of it" ;;
            *) other="$name_of says ready=$ready$status Ready=$condition $why" ;;
        esac
    done <"$scratch/answer"
    if [ "$all" -eq 0 ]; then
        echo 'there is none yet'
        return 1
    fi
    [ "$good" -eq "$all" ] && return
    printf '%s of %s policies are ready; %s\n' "$good" "$all" "$other"
    return 1
}

# rollout [--namespace=NAMESPACE] -- RESOURCE
rollout() {
    limited "$(at_most 30)" "$kubectl" rollout status --timeout="$(at_most 5)s" "$@"
}

# shell COMMAND
shell() {
    limited "$left" sh -c "$1"
}

# webhook -- RESOURCE
# A webhook of a service needs a certificate authority and an address; one of a URL, which is outside the cluster,
# may do with the authorities of the system.
webhook() {
    limited "$(at_most 30)" "$kubectl" get --output=jsonpath='{range .webhooks[*]}{.name}{"|"}{.clientConfig.url}{"|"}{.clientConfig.service.namespace}{"|"}{.clientConfig.service.name}{"|"}{.clientConfig.caBundle}{"\n"}{end}' "$@" >"$scratch/webhooks" || return
    [ -s "$scratch/webhooks" ] || {
        echo 'the configuration holds no webhook yet'
        return 1
    }
    asked=
    while IFS='|' read -r hook url namespace service authority || [ -n "$hook" ]; do
        [ -z "$url" ] || continue
        if [ -z "$namespace" ] || [ -z "$service" ]; then
            printf 'the webhook "%s" has neither service nor URL\n' "$hook"
            return 1
        fi
        if [ -z "$authority" ]; then
            printf 'the webhook "%s" has no certificate authority yet\n' "$hook"
            return 1
        fi
        [ "$namespace/$service" != "$asked" ] || continue
        asked=$namespace/$service
        endpoints 1 --namespace="$namespace" -- "endpoints/$service" || {
            result=$?
            printf 'which the webhook "%s" needs of the service %s\n' "$hook" "$asked"
            return "$result"
        }
    done <"$scratch/webhooks"
}

# The end of what the last try said: without control characters, without the time and process id that kubectl puts
# before its warnings, which would make every try's answer a new one, and each repeated line once.
reason() {
    tail -c 100000 "$scratch/said" | tr -d '\000-\010\013-\037\177' |
        sed 's/^[EFIW][0-9]\{4\} [0-9:.]* *[0-9]* \([^ ]*\]\)/\1/' | uniq | tail -c 4000 | tail -n 20
}

# await SECONDS INTERVAL DESCRIPTION CHECK…: tries the check until it passes, or its time is over.
await() {
    limit=$1 interval=$2 what=$3
    shift 3
    say "waiting for $what (at most $limit s)"
    elapsed=0 shown=
    before=$(date +%s)
    while :; do
        left=$((limit - elapsed))
        [ "$left" -ge 5 ] || left=5
        "$@" >"$scratch/said" 2>&1
        result=$?
        now=$(date +%s)
        step=$((now - before))
        before=$now
        # A step that no try can take is a clock that was set meanwhile.
        if [ "$step" -lt 0 ] || [ "$step" -gt $((left + interval + 10)) ]; then
            step=$interval
        fi
        elapsed=$((elapsed + step))
        if [ "$result" -eq 0 ]; then
            say "ready after $elapsed s: $what"
            return
        fi
        reason=$(reason)
        [ -n "$reason" ] || reason="exit status $result, and not a word"
        if [ "$elapsed" -ge "$limit" ]; then
            say "NOT READY after $elapsed s: $what"
            printf '%s\n' "$reason" | sed 's/^/    /' >&2
            exit 1
        fi
        if [ "$reason" != "$shown" ]; then
            shown=$reason
            say "not yet: $what"
            printf '%s\n' "$reason" | sed 's/^/    /' >&2
        fi
        left=$((limit - elapsed))
        [ "$interval" -le "$left" ] || interval=$left
        sleep "$interval"
    done
}

name='wait-kyverno'
kubectl=${KUBECTL:-kubectl}

list() {
    printf '%s (at most %s s)\n' 'established definitions: clusterpolicies.kyverno.io, policies.kyverno.io' 300
    printf '%s (at most %s s)\n' 'rollout of deployment/kyverno in namespace kyverno' 300
    printf '%s (at most %s s)\n' 'condition Ready=True of every one of nodes' 300
    printf '%s (at most %s s)\n' 'existence of secret/kyverno-svc in namespace kyverno' 300
    printf '%s (at most %s s)\n' '{.status.ready} = "true" in every one of clusterpolicies' 300
    printf '%s (at most %s s)\n' '{.status.ready} = "true" in clusterpolicy/redirect-registry' 300
    printf '%s (at most %s s)\n' '3 nodes, every one ready' 300
    printf '%s (at most %s s)\n' 'an address behind the service kyverno-svc in namespace kyverno' 300
    printf '%s (at most %s s)\n' 'webhooks of validatingwebhookconfiguration/kyverno-policy-validating-webhook-cfg' 300
    printf '%s (at most %s s)\n' 'admission of a ConfigMap it'\''s in namespace kyverno' 300
    printf '%s (at most %s s)\n' 'readiness of every one of clusterpolicies' 300
    printf '%s (at most %s s)\n' 'readiness of policy/redirect in namespace kyverno' 300
    printf '%s (at most %s s)\n' 'status 200 from https://sea.hub:5000/v2/' 300
    printf '%s (at most %s s)\n' 'success of: kubectl auth can-i create pods' 300
}

required() {
    needs "$kubectl"
    needs curl wget
}

checks() {
    await 300 2 'established definitions: clusterpolicies.kyverno.io, policies.kyverno.io' \
        condition 'Established=True' -- 'customresourcedefinition/clusterpolicies.kyverno.io' 'customresourcedefinition/policies.kyverno.io'
    await 300 2 'rollout of deployment/kyverno in namespace kyverno' \
        rollout --namespace='kyverno' -- 'deployment/kyverno'
    await 300 2 'condition Ready=True of every one of nodes' \
        condition 'Ready=True' --all -- 'nodes'
    await 300 2 'existence of secret/kyverno-svc in namespace kyverno' \
        exists --namespace='kyverno' -- 'secret/kyverno-svc'
    await 300 2 '{.status.ready} = "true" in every one of clusterpolicies' \
        jsonpath each 'true' --output='jsonpath={range .items[*]}{.status.ready}{"\n"}{end}' -- 'clusterpolicies'
    await 300 2 '{.status.ready} = "true" in clusterpolicy/redirect-registry' \
        jsonpath one 'true' --output='jsonpath={.status.ready}' -- 'clusterpolicy/redirect-registry'
    await 300 2 '3 nodes, every one ready' \
        nodes 3
    await 300 2 'an address behind the service kyverno-svc in namespace kyverno' \
        endpoints 1 --namespace='kyverno' -- 'endpoints/kyverno-svc'
    await 300 2 'webhooks of validatingwebhookconfiguration/kyverno-policy-validating-webhook-cfg' \
        webhook -- 'validatingwebhookconfiguration/kyverno-policy-validating-webhook-cfg'
    await 300 2 'admission of a ConfigMap it'\''s in namespace kyverno' \
        admits '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"it'\''s","namespace":"kyverno"}}'
    await 300 2 'readiness of every one of clusterpolicies' \
        policy each -- 'clusterpolicies'
    await 300 2 'readiness of policy/redirect in namespace kyverno' \
        policy one --namespace='kyverno' -- 'policy/redirect'
    await 300 2 'status 200 from https://sea.hub:5000/v2/' \
        http 'https://sea.hub:5000/v2/' 200 insecure
    await 300 2 'success of: kubectl auth can-i create pods' \
        shell 'kubectl auth can-i create pods'
}

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
