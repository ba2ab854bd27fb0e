#!/bin/sh
# Verifies one callback with openssl, for a look at what was captured.
#
#   verify.sh HEADERS_FILE BODY_FILE SECRET_FILE     exit 0: genuine, 1: not
#
# Not for a receiver on a network: a shell compares in the time it takes, and the key is visible to `ps` meanwhile.
set -eu

if [ $# -ne 3 ]; then
    echo "usage: verify.sh HEADERS_FILE BODY_FILE SECRET_FILE" >&2
    exit 2
fi

header() {
    tr -d '\r' <"$headers" | sed -n "s/^$1: *//Ip" | head -n 1
}

headers=$1
body=$2
secret=$(cat "$3")
tolerance=300

id=$(header webhook-id)
timestamp=$(header webhook-timestamp)
signatures=$(header webhook-signature)

case $timestamp in
'' | *[!0-9]*) exit 1 ;;
esac
age=$(($(date +%s) - timestamp))
if [ "$age" -gt "$tolerance" ] || [ "$age" -lt "-$tolerance" ]; then
    exit 1
fi

key=$(printf '%s' "${secret#whsec_}" | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \n')
expected=$({
    printf '%s.%s.' "$id" "$timestamp"
    cat "$body"
} | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)

# While secrets are rotated there is one signature per secret; one that fits is enough.
for signature in $signatures; do
    if [ "$signature" = "v1,$expected" ]; then
        exit 0
    fi
done
exit 1
