#!/bin/sh
# The whole story on this machine alone: a proxy, an origin that keeps what it receives, and curl.
#
# demo.sh PROGRAMS, where cargo has put keyferry and origin: `make demo` does both.
set -eu

programs=$(cd "${1:?usage: demo.sh PROGRAMS}" && pwd)
host=api.example.test
work=$(mktemp -d)
children=
carried=0
refused=0

# However this ends, nothing stays behind.
finish() {
    status=$?
    trap - EXIT INT TERM HUP
    for child in $children; do
        kill "$child" 2>/dev/null || :
    done
    for child in $children; do
        wait "$child" 2>/dev/null || :
    done
    if [ "$status" -ne 0 ] && [ "$status" -lt 129 ]; then
        echo "demo.sh: it did not go as it should; what the programs said:" >&2
        cat "$work"/*.err >&2 2>/dev/null || :
    fi
    rm -rf "$work"
    exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

bold='' green='' red='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$(printf '\033[1m') green=$(printf '\033[32m') red=$(printf '\033[31m')
    dim=$(printf '\033[2m') plain=$(printf '\033[0m')
fi

main() {
    start origin "$programs/origin" origin "$host"
    origin=$(said origin 's/^address //p')
    configure
    start keyferry "$programs/keyferry" serve --config keyferry.toml --data-dir data
    proxy=$(said keyferry 's/^  proxy  *\(http.*\)/\1/p')
    start upgrading env \
        KEYFERRY_PROXY__PLAIN_HTTP=upgrade 'KEYFERRY_PROXY__LISTEN=["127.0.0.1:0"]' \
        "$programs/keyferry" serve --config keyferry.toml --data-dir data2
    upgrading=$(said upgrading 's/^  proxy  *\(http.*\)/\1/p')
    introduce

    chapter 'What is carried: three types of connection' \
        'The caller uses its caller token as if it were the API key of an SDK (base-URL form).'
    carried 'a bearer token' \
        -H "Authorization: Bearer $token" "$proxy/~/billing/v1/invoices"
    carried 'an API key, in the field that its connection names' \
        -H "X-Api-Key: $token" "$proxy/~/orders/v1/orders"
    carried 'a user name and a password' \
        -u "anyone:$token" "$proxy/~/archive/v1/files"

    chapter 'What is carried: every form of request' \
        'A program names its connection in whichever way it can.'
    carried 'gateway: fields say where to go and with which connection' \
        -H "X-Zis-Host: $host" -H 'X-Zis-Connection: billing' \
        -H "Proxy-Authorization: Bearer $token" "$proxy/v1/invoices"
    carried 'absolute-form: the request line is a whole https:// URL' \
        --request-target "https://$host/v1/orders" -H 'X-Zis-Connection: orders' \
        -H "Proxy-Authorization: Bearer $token" "$proxy"
    carried 'the proxy'\''s unix socket instead of its port' \
        --unix-socket "$work/keyferry.sock" -H "Authorization: Bearer $token" \
        'http://localhost/~/billing/v1/invoices'
    carried 'HTTP/2 from the first byte on, with a body' \
        --http2-prior-knowledge -H "X-Api-Key: $token" --data '{"item":"rope"}' \
        "$proxy/~/orders/v1/orders"
    carried 'absolute-form over http://, which a second proxy is set to upgrade to https://' \
        -x "http://demo.archive:$token@${upgrading#http://}" "http://$host/v1/files"

    chapter 'What is refused' 'Nothing of these has reached the origin.'
    refused 'a host that is not the connection'\''s' \
        -H 'X-Zis-Host: evil.example.net' -H 'X-Zis-Connection: billing' \
        -H "Proxy-Authorization: Bearer $token" "$proxy/v1/invoices"
    refused 'no caller token' "$proxy/~/billing/v1/invoices"
    refused 'http://, where nobody has set the proxy to upgrade it' \
        -x "http://demo.billing:$token@${proxy#http://}" "http://$host/v1/invoices"
    refused 'a name that leads into the private network' \
        -H "Authorization: Bearer $token" "$proxy/~/inside/latest/meta-data"
    refused 'TRACE, which would send the credential back' \
        -X TRACE -H "Authorization: Bearer $token" "$proxy/~/billing/v1/invoices"
    conclude
}

# Three connections, one that leads astray, and one caller.
configure() {
    token=$("$programs/keyferry" token generate)
    (umask 077 && printf '%s\n' "$token" >"$work/caller.token")
    for secret in billing orders archive inside; do
        (umask 077 && printf '%s-secret-%s\n' "$secret" "$$" >"$work/$secret.secret")
    done
    cat >"$work/keyferry.toml" <<END
[proxy]
listen = ["127.0.0.1:0", "unix:keyferry.sock"]
[api]
listen = "127.0.0.1:0"
[store]
url = "memory:"
[upstream]
extra_roots = ["origin/ca.pem"]       # the origin's own authority, beside the public ones
allow_networks = ["127.0.0.0/8"]      # the origin is on this machine
[upstream.resolve]
"$host:443" = "$origin"
"inside.example.test:443" = "169.254.169.254:443"
"evil.example.net:443" = "$origin"

[[connections]]
integration = "demo"
type = "bearer_token"
name = "billing"
allowed_domain = "$host"
token = { file = "billing.secret" }
[[connections]]
integration = "demo"
type = "api_key"
name = "orders"
allowed_domain = "$host"
header_name = "X-Api-Key"
api_key = { file = "orders.secret" }
[[connections]]
integration = "demo"
type = "basic_auth"
name = "archive"
allowed_domain = "$host"
username = "ferry"
password = { file = "archive.secret" }
[[connections]]
integration = "demo"
type = "bearer_token"
name = "inside"
allowed_domain = "inside.example.test"
token = { file = "inside.secret" }

[[tokens]]
name = "caller"
integration = "demo"
scopes = ["proxy"]
token = { file = "caller.token" }
END
}

# start NAME PROGRAM ARGUMENTS…: runs it in $work until the demo ends.
start() {
    name=$1
    shift
    (cd "$work" && exec "$@" >"$name.out" 2>"$name.err") &
    children="$! $children"
}

# said NAME EXPRESSION: what a program says once it is ready, as sed finds it.
said() {
    tries=0
    while [ "$tries" -lt 200 ]; do
        found=$(sed -n "$2" "$work/$1.out" 2>/dev/null | head -n 1)
        if [ -n "$found" ]; then
            printf '%s\n' "$found"
            return
        fi
        tries=$((tries + 1))
        sleep 0.1
    done
    echo "demo.sh: $1 did not start" >&2
    return 1
}

introduce() {
    cat <<END
${bold}Keyferry carries requests and adds the credential on the way.${plain}

  caller ──▶ Keyferry ──TLS──▶ origin
  curl       $proxy   https://$host, on this machine as $origin

The caller has one caller token, kf_…, which is worth nothing anywhere but here.
The credentials are in files that Keyferry alone reads:

  connection  type          for                 credential
  billing     bearer_token  $host    $(cat "$work/billing.secret")
  orders      api_key       $host    $(cat "$work/orders.secret"), in X-Api-Key
  archive     basic_auth    $host    ferry and $(cat "$work/archive.secret")
END
}

chapter() {
    printf '\n%s── %s ──%s\n%s\n' "$bold" "$1" "$plain" "$2"
}

# show TITLE CURL-ARGUMENTS…: runs curl; leaves $status, and the answer in $work/answer.
show() {
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
    shift
    printf '  sent      curl'
    for argument; do
        case $argument in
            *'"'*) printf " '%s'" "$argument" ;;
            *[!A-Za-z0-9_./:@=~-]*) printf ' "%s"' "$argument" ;;
            *) printf ' %s' "$argument" ;;
        esac
    done | sed -e "s/$token/\$TOKEN/g" -e "s|$work/||g"
    status=$(curl -sS --max-time 20 -o "$work/answer" -w '%{http_code}' "$@")
    printf '\n'
    if grep -q secret "$work/answer"; then
        fail 'the answer gives a secret to the caller'
    fi
}

carried() {
    show "$@"
    number=$(sed -n 's/^{"received": \([0-9]*\)}$/\1/p' "$work/answer")
    if [ "$status" != 200 ] || [ -z "$number" ]; then
        fail "this was to be carried: $status $(cat "$work/answer")"
    fi
    file=$work/origin/$number
    printf '  received  %s\n' "$(head -n 1 "$file")"
    sed -e 1d -e '/^$/,$d' -e '/^accept: /d' -e '/^user-agent: /d' -e '/^via: /d' \
        -e '/^content-/d' -e "s/.*secret.*/$green&$plain/" \
        -e "s/^\(authorization: Basic \)\(.*\)/$green\1\2$plain/" \
        -e 's/^/            /' "$file"
    body=$(sed '1,/^$/d' "$file")
    [ -z "$body" ] || printf '            %s\n' "$body"
    basic=$(sed -n 's/^authorization: Basic //p' "$file")
    if [ -n "$basic" ]; then
        basic=$(printf %s "$basic" | base64 -d)
        printf '            %s(in base64: %s)%s\n' "$dim" "$basic" "$plain"
    fi
    printf '  answered  %s %s\n' "$status" "$(cat "$work/answer")"
    ! grep -q kf_ "$file" || fail 'the caller token has left the proxy'
    carried=$((carried + 1))
}

refused() {
    show "$@"
    code=$(sed -n 's/.*"code":"\([A-Za-z]*\)".*/\1/p' "$work/answer")
    title=$(sed -n 's/.*"title":"\(.*\)"}\]}$/\1/p' "$work/answer")
    [ -n "$code" ] || fail "this was to be refused: $status $(cat "$work/answer")"
    printf '  refused   %s%s %s%s\n            %s\n' "$red" "$status" "$code" "$plain" "$title"
    refused=$((refused + 1))
}

conclude() {
    arrived=$(find "$work/origin" -name '[0-9]*' | wc -l)
    [ "$carried" -eq "$arrived" ] || fail "$arrived requests have arrived, not $carried"
    printf '\n%s%s requests were carried, %s were refused.%s The origin has received %s.\n' \
        "$bold" "$carried" "$refused" "$plain" "$((arrived))"
    printf 'Next: config/example.toml, a small deployment; every key is in config/default.toml.\n'
}

fail() {
    printf 'demo.sh: %s\n' "$1" >&2
    exit 1
}

main
