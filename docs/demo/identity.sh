#!/usr/bin/env bash
# Plays the life of identities on real processes, from an off-line root to the record of all that happened. Each command is shown as
# typed, and each claim is checked: exit code 1 if any step did not do what it says. Nothing is left running, nothing is left behind.
#
#   docs/demo/identity.sh [FOLDER]      FOLDER has the built programs, with examples/ below it [default: target/debug]
#
# Needs openssl, curl and python3 with venv. SIGNET_DEMO_PYTHON names a Python that has grpcio, grpcio-tools and cryptography already.
set -euo pipefail

demo=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$demo/../../target}
programs=$(cd "${1:-$target/debug}" && pwd)
PATH=$programs:$programs/examples:$PATH
# Nothing of an instance of the player's own may play a part, nor may a web proxy.
for name in "${!SIGNET_@}"; do [ "$name" = SIGNET_DEMO_PYTHON ] || unset "$name"; done
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1

# ---- how commands are shown and claims are checked

if [ -t 1 ]; then bold=$'\e[1m' faint=$'\e[2m' red=$'\e[31m' plain=$'\e[0m'; else bold='' faint='' red='' plain=''; fi

chapter() { printf '\n%s== %s%s\n' "$bold" "$1" "$plain"; }
tell() { printf '\n' && fold -s -w 100 <<< "$*" | sed 's/ *$//'; }
fail() {
    printf '\n%sFAILED: %s%s\n' "$red" "$1" "$plain"
    for log in "$folder"/*.log; do
        if [ -s "$log" ]; then printf '%s\n' "--- end of ${log##*/}" && tail -n 5 "$log"; fi
    done
    exit 1
}

# Shows a command as it is typed, runs it, and shows what it says. Its words stay in $said, its exit code in $status.
try() {
    printf '\n%s$ %s%s\n' "$bold" "$1" "$plain"
    status=0
    said=$(eval "$1" 2>&1) || status=$?
    if [ -n "$said" ]; then printf '%s\n' "$said"; fi
}
does() {
    try "$1"
    [ "$status" = 0 ] || fail "exit code $status, expected 0"
}
refused() {
    try "$1"
    [ "$status" = 1 ] || fail "exit code $status, expected a refusal, 1"
}
# What the last command must have said.
says() {
    for words in "$@"; do
        grep -qF -- "$words" <<< "$said" || fail "expected it to say: $words"
    done
}
# Asks until a test holds, for at most 20 s.
await() {
    local what=$1 until=$((SECONDS + 20))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$until" ] || fail "waited in vain for: $what"
        sleep 0.1
    done
}

# Shows and starts a program that stays; what it says goes to NAME.log.
declare -A pids=()
starts() {
    printf '\n%s$ %s > %s.log 2>&1 &%s\n' "$bold" "$2" "$1" "$plain"
    eval "exec $2" > "$1.log" 2>&1 &
    pids[$1]=$!
}
# Stops it as an operator would, with SIGTERM. Its exit code must be 0.
stops() {
    local pid=${pids[$1]} code=0
    printf '\n%s$ kill %s    # %s%s\n' "$bold" "$pid" "$1" "$plain"
    kill "$pid" || fail "$1 had ended before"
    wait "$pid" || code=$?
    unset "pids[$1]"
    [ "$code" = 0 ] || fail "$1 ended with exit code $code, expected 0"
}

finish() {
    local code=$? until=$((SECONDS + 12))
    trap '' INT TERM HUP
    for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2> /dev/null && [ "$SECONDS" -lt "$until" ]; do sleep 0.1; done
        kill -9 "$pid" 2> /dev/null || true
    done
    rm -rf "$folder"
    exit "$code"
}

# ---- the two workloads and their counters

# The newest value of a counter of a workload.
counter() { grep '^sent=' "$1.log" | tail -n 1 | grep -o "$2=[0-9]*" | cut -d = -f 2; }
reaches() { [ "$(counter "$1" "$2" || echo 0)" -ge "$3" ]; }

declare -A seen=([details]=0 [productpage]=0)
# Both counters must have grown since the last look.
traffic() {
    local name
    for name in details productpage; do
        await "bytes to $name" reaches "$name" received $((seen[$name] + 1))
        seen[$name]=$(counter "$name" received)
        [ "$(counter "$name" failures)" = 0 ] || fail "$name counted a failure"
    done
    printf '\n%s   ... meanwhile: details received %d kB, productpage %d kB, certificates renewed %d and %d times, failures 0%s\n' \
        "$faint" $((seen[details] / 1000)) $((seen[productpage] / 1000)) \
        "$(counter details rotations)" "$(counter productpage rotations)" "$plain"
}
# From the first byte on each second must have brought more bytes than the one before.
never_stopped() {
    grep '^sent=' "$1.log" | grep -o 'received=[0-9]*' | cut -d = -f 2 \
        | awk '$1 > 0 || seen { if (seen && $1 <= last) exit 1; last = $1; seen++ } END { if (seen < 10) exit 1 }'
}

# A fact of ready.json, a counter of the CA, the serial number of a certificate.
ready() { grep -o "\"$1\":\"[^\"]*\"" ca/ready.json | cut -d '"' -f 4; }
refusals_of_ca() { curl -s "http://$metrics/metrics" | grep "^signet_refusals_total{reason=\"$1\"}" | cut -d ' ' -f 2; }
serial() { openssl x509 -in "$1" -noout -serial | cut -d = -f 2 | tr 'A-F' 'a-f'; }

# ---- before the clock runs: what the demo itself needs

for tool in openssl curl python3 root-ca signet echo_server echo_client impostor; do
    command -v "$tool" > /dev/null || { echo "$tool is missing; programs come from make, the rest from your system"; exit 1; }
done
python=${SIGNET_DEMO_PYTHON:-$(cd "$target" && pwd)/demo-python/bin/python}
if ! "$python" -c 'import grpc, grpc_tools, cryptography' 2> /dev/null; then
    [ -z "${SIGNET_DEMO_PYTHON:-}" ] || { echo "$python cannot import grpc, grpc_tools and cryptography"; exit 1; }
    echo "Setting up a Python with grpcio for the proxy's part, once ..."
    python3 -m venv --clear "$target/demo-python"
    "$python" -m pip install --quiet --disable-pip-version-check grpcio==1.85.1 grpcio-tools==1.85.1 cryptography==50.0.2
fi
PATH=$(dirname "$python"):$PATH
folder=$(mktemp -d "${TMPDIR:-/tmp}/signet-demo.XXXXXX")
trap finish EXIT
trap 'exit 1' INT TERM HUP
cd "$folder"
ln -s "$demo/proxy_csr.py" proxy_csr.py
export SIGNET_DATA=ca
SECONDS=0

# ---- the story

chapter "1. A root that never meets a network, and a CA under it"
tell "root-ca has no network code. In earnest it runs on a machine in a safe; here it is just another folder."
does "root-ca init --trust-domain shop.example --out root"
says "root of shop.example made" "fingerprint"

tell "The CA makes its own key, which never leaves its data folder, and a request for a certificate."
does "signet authority prepare --data ca --csr-out authority.csr --trust-domain shop.example"
says "CSR for an authority of shop.example"

tell "The request travels to the root, which shows what it signs; the certificate travels back."
does "root-ca sign --root root --csr authority.csr --out authority.pem --yes"
does "signet authority activate --data ca --chain authority.pem --root root/root.pem"
says "is active until"

tell "Devices will come with a certificate that their factory gave them. The CA is told which factory to believe, and what in its certificates names a device."
does "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout factory.key -out factory.pem -subj '/CN=Widget factory' 2>/dev/null"
cat > server.yaml << 'YAML'
trustDomain: shop.example
serverNames: [ 127.0.0.1 ]
listen: { grpc: "127.0.0.1:0", crl: "127.0.0.1:0", metrics: "127.0.0.1:0" }    # any free ports
authentication:
  certificate: [ { name: factory, rootsFile: factory.pem, idFrom: serialNumber } ]
YAML
does "cat server.yaml"
starts ca "signet server run --config server.yaml --data ca --log-level debug"
tell "Every signet command finds this server by its data folder: export SIGNET_DATA=ca"
does "signet health --wait 20s"
says "live and ready"
grpc=$(ready grpc) crl=$(ready crl) metrics=$(ready metrics)

chapter "2. Two workloads, mutual TLS, and certificates that live fifteen seconds"
details=spiffe://shop.example/ns/default/sa/details
productpage=spiffe://shop.example/ns/default/sa/productpage
tell "A join token is spent once, on one identity. It carries the fingerprint of the root, so a workload needs nothing else to know its CA."
does "signet token create --spiffe-id $details --life 15s --out details.token"
does "signet token create --spiffe-id $productpage --life 15s --out productpage.token"
does "signet inspect productpage.token"
says "its secret is not shown"
tell "Both ends are small Rust programs on client-lib. Each enrols, renews after half of its certificate's life, and admits only the other."
starts details "echo_server --token-file details.token --out details --peer $productpage"
await "details to listen" grep -q '^listening' details.log
address=$(grep '^listening' details.log | cut -d ' ' -f 2)
starts productpage "echo_client --token-file productpage.token --out productpage --peer $details --connect $address"
await "the first bytes" reaches productpage received 1
tell "One connection stays busy from here to the end, and each second a fresh one is opened. Every few steps we look at the bytes that came in at both ends: they must have grown."
traffic

chapter "3. Whoever cannot prove an identity is refused"
refusals=$(counter details refusals)
tell "A caller without a certificate:"
refused "openssl s_client -connect $address -CAfile ca/bundle.pem -ign_eof < /dev/null 2>&1 | grep alert"
says "certificate required"
await "details to count the refusal" reaches details refusals $((refusals + 1))
does "grep '^refused' details.log | tail -n 1"
says "the caller presented no certificate"
tell "A thief with productpage's certificate, which is no secret, but without its key:"
does "openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out thief.key"
refused "impostor --connect $address --certificate productpage/svid.pem --key thief.key"
says "refused: received fatal alert: DecryptError"
await "details to count the refusal" reaches details refusals $((refusals + 2))
does "grep '^refused' details.log | tail -n 1"
says "does not hold the key of the certificate"
[ "$(counter details refusals)" = $((refusals + 2)) ] || fail "details counted $(counter details refusals) refusals, expected $((refusals + 2))"
does "grep '^sent=' details.log | tail -n 1"
says "refusals=$((refusals + 2))"
tell "Two callers, two refusals with their reasons. The good connections did not notice:"
traffic

chapter "4. A mesh proxy has its CSR signed over Istio's protocol"
sleep=spiffe://shop.example/ns/default/sa/sleep
tell "Proxies make their own key and send a request. The names in it are wishes: they are checked against what the caller has proved."
does "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout sleep.key -out sleep.csr -subj / -addext subjectAltName=URI:$sleep 2>/dev/null"
before=$(refusals_of_ca NO_PROOF)
tell "Without any proof the CA says no. It does not tell a stranger why; its log and its counter do."
refused "python proxy_csr.py --server $grpc --roots ca/bundle.pem --csr sleep.csr --out sleep.pem"
says "UNAUTHENTICATED: request authenticate failure"
does "curl -s http://$metrics/metrics | grep NO_PROOF"
says "signet_refusals_total{reason=\"NO_PROOF\"} $((before + 1))"
does "grep refused ca.log | tail -n 1"
says "NO_PROOF" "the call carries no proof of identity"
tell "With a token it is signed. First ask whether it would be: nothing is issued, and the token is not spent."
does "signet token create --spiffe-id $sleep --out sleep.token"
does "signet explain identity --csr sleep.csr --token-file sleep.token"
says "granted: $sleep"
does "python proxy_csr.py --server $grpc --roots ca/bundle.pem --csr sleep.csr --bearer sleep.token --out sleep.pem"
says "cert_chain[0]  leaf: $sleep" "cert_chain[1]  intermediate: spiffe://shop.example" "cert_chain[2]  all roots: 1"
does "openssl verify -CAfile root/root.pem -untrusted sleep.pem sleep.pem"
says "sleep.pem: OK"
tell "sleep is a member of the shop now, but details expects productpage and nobody else:"
refused "openssl s_client -connect $address -CAfile ca/bundle.pem -cert sleep.pem -cert_chain sleep.pem -key sleep.key -ign_eof < /dev/null 2>&1 | grep alert"
await "details to count the refusal" reaches details refusals $((refusals + 3))
does "grep '^refused' details.log | tail -n 1"
says "peer is $sleep, expected $productpage"
traffic

chapter "5. A device turns its factory certificate into a client certificate"
device=spiffe://shop.example/device/D-0001
tell "This is what the factory did, once: a key in the device, and a certificate with its serial number."
does "openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout device.key -out device.csr -subj '/O=Widget/serialNumber=D-0001' 2>/dev/null"
printf 'extendedKeyUsage = clientAuth\n' > device.ext
does "openssl x509 -req -in device.csr -CA factory.pem -CAkey factory.key -CAcreateserial -extfile device.ext -days 3650 -out device.pem"
tell "To the CA it is a stranger until a registration gives devices of this factory an identity."
refused "signet cert issue --certificate device.pem --key device.key --out device"
says "IDENTITY_NOT_GRANTED"
cat > widgets.yaml << 'YAML'
apiVersion: signet.dev/v1
kind: Registration
metadata: { name: widgets, namespace: default }
spec:
  role: device
  spiffeId: "spiffe://shop.example/device/{{ certificate.id }}"
  callers: [ "certificate:factory:D-*" ]
  life: 24h
YAML
does "cat widgets.yaml"
does "signet apply -f widgets.yaml"
does "signet cert issue --certificate device.pem --key device.key --out device"
says "$device until"
does "signet inspect device/svid.pem"
says "certificate of $device"
does "openssl verify -CAfile root/root.pem -untrusted device/svid.pem -purpose sslclient device/svid.pem"
says "device/svid.pem: OK"
traffic

chapter "6. The device is stolen"
tell "Who has what? And would the device get more, if it asked?"
does "signet cert list --spiffe-id '$device*'"
says "valid"
does "signet explain identity --csr device.csr --as-certificate device/svid.pem"
says "granted: $device"
stolen=$(serial device/svid.pem)
does "signet cert revoke $stolen --reason keyCompromise"
says "certificate $stolen revoked" "registration default/widgets still grants"
tell "The command warned: the factory certificate still opens the door. So that goes too, and neither renewal nor a new start works."
does "signet delete registration widgets"
refused "signet cert renew device --force"
says "CERTIFICATE_REVOKED"
refused "signet cert issue --certificate device.pem --key device.key --out again"
says "IDENTITY_NOT_GRANTED"
tell "Others learn of it from the CRL, which openssl can read:"
authority=$(signet authority list | grep active | cut -d ' ' -f 1)
listed() { curl -s "http://$crl/crl/$authority.crl" | openssl crl -inform DER -noout -text | grep -qi "$stolen"; }
await "the CRL with that serial number" listed
does "curl -s http://$crl/crl/$authority.crl | openssl crl -inform DER -noout -text | grep -A 4 'Revoked Certificates'"
traffic

chapter "7. Rotation, seen from the end"
tell "By now each workload must have changed its certificate three times at least; we wait if it has not."
for name in details productpage; do
    await "three rotations of $name" reaches "$name" rotations 3
done
traffic
does "signet cert list --spiffe-id $productpage"
says "$productpage"
for name in details productpage; do
    never_stopped "$name" || fail "a second passed in which $name received nothing"
done
tell "Each second brought more bytes than the one before, at both ends, through all of these certificates. Now the two may rest."
stops productpage
does "grep '^total' productpage.log"
says "failures=0"
stops details
does "grep '^total' details.log"
says "failures=0" "refusals=$((refusals + 3))"
received=$(grep '^total' details.log | grep -o 'received=[0-9]*' | cut -d = -f 2)
rotations=$(grep -h '^total' details.log productpage.log | grep -o 'rotations=[0-9]*' | cut -d = -f 2 | awk '{ sum += $1 } END { print sum }')

chapter "8. The record"
tell "Every certificate was written to the journal before it left. Each audit line has the head of the journal's hash chain; kept elsewhere, it proves later that nothing was changed."
does "curl -s http://$metrics/metrics | grep ^signet_certificates_issued_total"
issued=$(awk '{ total += $2 } END { print total }' <<< "$said")
does "grep $stolen ca/audit.log | head -n 1"
says '"decision":"issued"' "\"identity\":\"$device\"" '"head":"'
head=$(grep -o '"head":"[0-9a-f]*"' <<< "$said" | cut -d '"' -f 4)
stops ca
does "signet journal head"
does "signet journal verify --head $head"
says "the record is whole, and the given head is in its chain"
records=$(grep -o 'records  *[0-9]*' <<< "$said" | grep -o '[0-9]*$')
tell "And if somebody changes a few bytes of it?"
does "cp -r ca forged && printf forged | dd of=\$(ls forged/journal/* | head -n 1) bs=1 seek=2000 conv=notrunc status=none"
refused "signet journal verify --data forged"

printf '\n%sshown in %d s: %d certificates issued; %d rotations under traffic of %d kB with 0 failures; 4 callers and a stolen device refused; %d records, all whole%s\n' \
    "$bold" "$SECONDS" "$issued" "$rotations" $((received / 1000)) "$records" "$plain"
