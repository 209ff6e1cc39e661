
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
