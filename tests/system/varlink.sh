#!/bin/bash
# The Varlink interface with other people's clients; malformed and hostile ones hurt nobody.
# machine: --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

socket=/run/quarry/io.quarry
as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"; }
call() { varlinkctl call --json=short "$socket" "$@"; }
error() { # what varlinkctl says: the error's name on stderr, its parameters on stdout
    run call "$@"
    echo "$out $err"
}

# --- varlinkctl ---
exits "varlinkctl info" 0 varlinkctl info $socket
like "names the product" "$out" 'Quarry'
like "and the interfaces" "$out" 'io.quarry.Pool.*io.quarry.Volume'
exits "varlinkctl list-interfaces" 0 varlinkctl list-interfaces $socket
is "ours and those of every service" "$(sort <<<"$out" | xargs)" "io.quarry.Doctor io.quarry.Driver io.quarry.Event io.quarry.Key io.quarry.Pool io.quarry.Stream io.quarry.Tenant io.quarry.Volume io.systemd org.varlink.service"
exits "varlinkctl list-methods" 0 varlinkctl list-methods $socket io.quarry.Volume
is "the methods of volumes are those that are published" "$(sort <<<"$out" | xargs -n1 basename -a | sed 's/.*\.//' | xargs)" "$(sed -n 's/^method \([A-Za-z]*\).*/\1/p' "$(dirname "$0")/../../docs/io.quarry.Volume.varlink" | sort | xargs)"
for interface in Volume Pool Tenant Event; do
    exits "varlinkctl introspect io.quarry.$interface" 0 varlinkctl introspect $socket io.quarry.$interface
    is "has comments on every method" "$(grep -B1 '^method ' <<<"$out" | grep -c '^#')" "$(grep -c '^method ' <<<"$out")"
    printf '%s\n' "$out" >/tmp/idl
    ok "and is valid IDL" varlinkctl validate-idl /tmp/idl
done
exits "varlinkctl call creates a pool" 0 call io.quarry.Pool.Create '{"name":"default","devices":["/dev/vda"]}'
is "and answers with it" "$(jq -r .pool.state <<<"$out")" active
exits "and a volume" 0 call io.quarry.Volume.Create '{"volume":"a","sizeBytes":33554432,"labels":["app=x"]}'
is "and answers with it" "$(jq -c '.volume | [.name, .sizeBytes, .labels, .state]' <<<"$out")" '["a",33554432,{"app":"x"},"ready"]'
exits "with --more it tells the steps" 0 varlinkctl call --json=short --more $socket io.quarry.Volume.Create '{"volume":"b","sizeBytes":33554432}'
like "first of all, then the volume" "$out" '"progress":\{"step":"[a-z ]+","position":1,"total":[0-9]+\}.*"volume":\{"name":"b"'
is "List" "$(call io.quarry.Volume.List '{}' | jq -c '[.volumes[].name]')" '["a","b"]'
is "Mount" "$(call io.quarry.Volume.Mount '{"volume":"a"}' | jq -r .path)" /run/quarry/mnt/default/a
exits "Unmount" 0 call io.quarry.Volume.Unmount '{"volume":"a"}'
exits "Remove" 0 call io.quarry.Volume.Remove '{"volume":"b"}'
like "an error has a name of its interface, and says more" "$(error io.quarry.Volume.Inspect '{"volume":"nope"}')" \
    'message.*no volume nope.*io.quarry.Volume.NoSuchVolume'

# --- python3-varlink ---
exits "python3-varlink works with it" 0 python3 - <<'PY'
import varlink
client = varlink.Client("unix:/run/quarry/io.quarry")
with client.open("io.quarry.Volume") as volumes:
    made = volumes.Create(volume="py", sizeBytes=33554432, filesystem="none")
    assert made["volume"]["state"] == "ready" and made["volume"]["filesystem"] == "none", made
    assert "py" in [v["name"] for v in volumes.List()["volumes"]]
    assert volumes.Inspect(volume="py")["volume"]["sizeBytes"] == 33554432
    try:
        volumes.Create(volume="py", sizeBytes=1 << 30)
        raise SystemExit("created twice")
    except varlink.VarlinkError as e:
        assert e.error() == "io.quarry.Volume.VolumeExists", e.error()
        assert "asked for 1G" in e.parameters()["message"], e.parameters()
    volumes.Remove(volume="py")
with client.open("io.quarry.Pool") as pools:
    assert pools.List()["pools"][0]["name"] == "default"
PY
is "without a complaint" "$err" ""

# --- malformed ---
before=$(state)
cat >/tmp/raw.py <<'PY'
# raw.py MESSAGE...: sends each, with a NUL behind it, on one connection; prints what comes back, a line a message
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect("/run/quarry/io.quarry")
for message in sys.argv[1:]:
    s.sendall(os.fsencode(message) + b"\0")
    answer = b""
    while not answer.endswith(b"\0"):
        try:
            block = s.recv(1 << 16)
        except ConnectionResetError:
            block = b""
        if not block:
            print("closed")
            sys.exit()
        answer += block
    print(answer[:-1].decode())
PY
raw() { python3 /tmp/raw.py "$@"; }
info='{"method":"org.varlink.service.GetInfo"}'
for text in '{"method":' 'nonsense' '[]' '42' '"text"' '' '{}' '{"method":42}' '{"method":"x"}' '{"method":"a.b","parameters":[]}' \
    '{"method":"a.b","method":"a.c"}' $'{"method":"\xff"}' "$(printf '[%.0s' {1..5000})" '{"error":"a.b"}' '{"parameters":{}}' \
    '{"method":"io.quarry.Volume.Inspect","parameters":{"volume":"a\u0000b"}}'; do
    like "broken: ${text:0:40}" "$(raw "$text" "$info")" 'closed|"error"'
done
method='"method":"io.quarry.Volume.Create","parameters"'
broken() { # WHAT PARAMETERS FIELD
    local answer
    answer=$(raw "{$method:$2}" "$info")
    like "$1 is refused, with the field" "$answer" "\"error\":\"(org.varlink.service.InvalidParameter\"|io.quarry.Volume.BadRequest\").*$3"
    like "$1: the connection goes on" "$answer" '"vendor":"Quarry"'
}
broken "a missing field" '{"volume":"x"}' sizeBytes
broken "an unknown field" '{"volume":"x","sizeBytes":33554432,"colour":"red"}' colour
broken "a number that is a string" '{"volume":"x","sizeBytes":"large"}' sizeBytes
broken "a negative number" '{"volume":"x","sizeBytes":-1}' sizeBytes
broken "a fraction" '{"volume":"x","sizeBytes":1.5}' sizeBytes
broken "a number beyond 64 bits" '{"volume":"x","sizeBytes":99999999999999999999999}' sizeBytes
broken "a null where a value is needed" '{"volume":null,"sizeBytes":33554432}' volume
broken "a string that is a number" '{"volume":7,"sizeBytes":33554432}' volume
broken "a word that is none of the enum" '{"volume":"x","sizeBytes":33554432,"filesystem":"ntfs"}' filesystem
broken "a list that is an object" '{"volume":"x","sizeBytes":33554432,"labels":{}}' labels
broken "labels that are numbers" '{"volume":"x","sizeBytes":33554432,"labels":[1]}' labels
broken "a uid beyond 32 bits" '{"volume":"x","sizeBytes":33554432,"uid":4294967296}' uid
broken "a mode that is too large" '{"volume":"x","sizeBytes":33554432,"mode":65535}' mode
broken "a flag that is a number" '{"volume":"x","sizeBytes":33554432,"ifAbsent":1}' ifAbsent
broken "a descriptor that did not come" '{"volume":"x","sizeBytes":33554432,"keySource":"passphrase","keyFileDescriptor":3}' keyFileDescriptor
like "a missing method" "$(raw '{"method":"io.quarry.Volume.Nope"}')" 'MethodNotFound'
like "a missing interface" "$(raw '{"method":"io.quarry.Nope.Nope"}')" 'InterfaceNotFound|MethodNotFound'
like "the worker's interface is not there" "$(raw '{"method":"io.quarry.Worker.Run","parameters":{"job":{}}}')" 'InterfaceNotFound|MethodNotFound'

# --- descriptors that hold no passphrase ---
cat >/tmp/pass.py <<'PY'
# pass.py KIND: a create with a descriptor of this kind as its passphrase; prints the answer
import array, fcntl, json, os, socket, sys
kind = sys.argv[1]
def memfd(content, seals):
    fd = os.memfd_create("key", os.MFD_ALLOW_SEALING)
    os.write(fd, content)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd
ALL = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
fds = {"file": lambda: [os.open("/etc/passwd", os.O_RDONLY)], "pipe": lambda: [os.pipe()[0]], "directory": lambda: [os.open("/", os.O_RDONLY)],
       "device": lambda: [os.open("/dev/zero", os.O_RDONLY)], "path": lambda: [os.open("/etc/passwd", os.O_PATH)],
       "unsealed": lambda: [memfd(b"key", 0)], "half sealed": lambda: [memfd(b"key", fcntl.F_SEAL_WRITE)],
       "empty": lambda: [memfd(b"", ALL)], "huge": lambda: [memfd(b"k" * (8 << 20), ALL)],
       "many": lambda: [memfd(b"key", ALL)] * 200, "sealed": lambda: [memfd(b"key", ALL)]}[kind]()
s = socket.socket(socket.AF_UNIX)
s.settimeout(120) # Argon2id takes its time here
s.connect("/run/quarry/io.quarry")
message = json.dumps({"method": "io.quarry.Volume.Create", "parameters": {
    "volume": "keyed", "sizeBytes": 33554432, "filesystem": "none", "keySource": "passphrase", "keyFileDescriptor": 0}}).encode() + b"\0"
socket.send_fds(s, [message], fds)
answer = b""
while not answer.endswith(b"\0"):
    block = s.recv(65536)
    if not block:
        break
    answer += block
print(answer[:-1].decode() or "closed")
PY
for kind in file pipe directory device path unsealed "half sealed" empty huge; do
    like "a descriptor is refused: $kind" "$(python3 /tmp/pass.py "$kind")" '"error":"io.quarry.Volume.BadRequest".*keyFileDescriptor'
done
is "after all that nothing has changed" "$(state)" "$before"
like "200 descriptors" "$(python3 /tmp/pass.py many)" 'closed|error|"state":"ready"'
quarry rm keyed >/dev/null 2>&1
like "a sealed memfd is accepted" "$(python3 /tmp/pass.py sealed)" '"state":"ready"'
try quarry rm keyed

# --- hostile ---
broker=$(systemctl show -P MainPID quarryd)
cat >/tmp/large.py <<'PY'
import socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(30)
s.connect("/run/quarry/io.quarry")
sent = 0
try:
    s.sendall(b'{"method":"io.quarry.Volume.List","parameters":{"pool":"')
    for _ in range(17):
        s.sendall(b"x" * (1 << 20))
        sent += 1
    s.sendall(b'"}}\0')
    answer = s.recv(4096)
    print("closed" if not answer else answer.decode())
except (BrokenPipeError, ConnectionResetError):
    print("closed")
PY
like "a message of 17 MiB ends the connection" "$(as_nobody python3 /tmp/large.py)" 'closed|error'
cat >/tmp/crowd.py <<'PY'
# crowd.py COUNT BYTES: COUNT connections that send these bytes, then nothing; says how many it could make, and stays
import resource, socket, sys, time
count = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
connections = []
for _ in range(count):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(20)
    try:
        s.connect("/run/quarry/io.quarry")
        s.sendall(sys.argv[2].encode())
    except (BrokenPipeError, ConnectionResetError):
        pass # closed at once: fine
    connections.append(s)
open("/tmp/crowd.ready", "w").write(str(len(connections)))
time.sleep(1000)
PY
crowd() { # WHO COUNT BYTES
    rm -f /tmp/crowd.ready
    prlimit --nofile=4096:4096 setpriv --reuid="$1" --clear-groups --regid=nogroup -- python3 /tmp/crowd.py "$2" "$3" &
    crowd=$!
    try wait_for 60 test -s /tmp/crowd.ready
}
go_away() {
    end $crowd
}
half='{"method":"io.quarry.Volume.List","para'
crowd nobody 3000 ""
is "3000 idle connections of one user can be made" "$(cat /tmp/crowd.ready)" 3000
ok "root is served meanwhile" timeout 10 quarry create during --size 16M --fs none
ok "so is that very user" as_nobody timeout 10 quarry ls
go_away
crowd nobody 500 "$half"
ok "500 half messages of one user: root is served" timeout 10 quarry rm during
ok "and that very user" as_nobody timeout 10 quarry ls
go_away
crowd root 3000 ""
ok "3000 idle connections of root: root is served" timeout 10 quarry ls
ok "and another user" as_nobody timeout 10 quarry ls
go_away
try python3 - "{$method:{\"volume\":\"gone\",\"sizeBytes\":33554432,\"filesystem\":\"none\"}}" <<'PY'
import socket, sys, time
s = socket.socket(socket.AF_UNIX)
s.connect("/run/quarry/io.quarry")
s.sendall(sys.argv[1].encode() + b"\0")
time.sleep(0.1)
PY
ok "a client that goes away before its answer gets what it asked for all the same" wait_for 20 eval 'quarry ls --no-legend -o name,state | grep "gone *ready"'
is "quarryd is the same process as before" "$(systemctl show -P MainPID quarryd)" "$broker"
ok "its descriptors are closed again" wait_for 20 eval "[ \$(ls /proc/$broker/fd | wc -l) -lt 60 ]"

finish
