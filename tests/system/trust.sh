#!/bin/bash
# Who holds which privilege: the broker none, the worker only for the broker, a user only what is theirs.
# machine: --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

as_nobody() { setpriv --reuid=nobody --regid=nogroup --clear-groups -- "$@"; }
as_admin() { setpriv --reuid=nobody --regid=nogroup --groups=quarry-admin -- "$@"; }
as_quarry() { setpriv --reuid=quarry --regid=quarry --clear-groups -- "$@"; }
worker_pids() { pgrep -x quarry-worker | sort | xargs; }

try quarry pool create default /dev/vda
try quarry create theirs --size 32M --label secret=label

# --- the broker ---
broker=$(systemctl show -P MainPID quarryd)
status=$(<"/proc/$broker/status")
ids() { awk -v line="$1:" '$1 == line { $1 = ""; print }' <<<"$status" | xargs -n1 | sort -u | xargs; }
is "quarryd runs as user quarry" "$(ids Uid)" "$(id -u quarry)"
is "and its group" "$(ids Gid)" "$(id -g quarry)"
for set in Inh Prm Eff Bnd Amb; do
    is "Cap$set is empty" "$(awk "/^Cap$set:/ { print \$2 }" <<<"$status")" 0000000000000000
done
is "it cannot gain any" "$(awk '/^NoNewPrivs:/ { print $2 }' <<<"$status")" 1
is "it is in no other group" "$(ids Groups)" "$(id -g quarry)"
not_ok "it has none of the storage libraries" grep -qE 'devmapper|cryptsetup|libblkid|libmount' "/proc/$broker/maps"
is "it has no device open" "$(find "/proc/$broker/fd" -lname '/dev/*' -printf '%l\n' | grep -v '^/dev/null$')" ""

# --- the worker ---
is "its socket is for user quarry alone" "$(stat -c '%a %U' /run/quarry/worker)" "600 quarry"
cat >/tmp/worker.py <<'PY'
import json, socket, sys
s = socket.socket(socket.AF_UNIX)
s.settimeout(20)
s.connect("/run/quarry/worker")
s.sendall(json.dumps({"method": "io.quarry.Worker.Run", "more": True, "parameters": {"job": {}}}).encode() + b"\0")
print(s.recv(65536).split(b"\0")[0].decode())
PY
chmod 0755 /tmp/worker.py
not_ok "another user cannot even connect" as_nobody python3 /tmp/worker.py
like "permission is denied" "$err" 'Permission denied'
exits "user quarry can" 0 as_quarry python3 /tmp/worker.py
like "and its job is judged" "$out" 'io.quarry.Worker.BadRequest|InvalidParameter'
chmod 0666 /run/quarry/worker
exits "if the socket were open to all" 0 as_nobody python3 /tmp/worker.py
like "the worker looks at its peer itself" "$out" 'PermissionDenied'
chmod 0600 /run/quarry/worker

before=$(worker_pids)
ok "two jobs" eval 'quarry create warm --size 32M --fs none && quarry rm warm'
is "are done by the same warm workers" "$(worker_pids)" "$before"
ok "which run as root" test "$(stat -c %U "/proc/${before%% *}")" = root
is "in the host's mount namespace" "$(readlink "/proc/${before%% *}/ns/mnt")" "$(readlink /proc/1/ns/mnt)"
not_ok "and may not load kernel modules" eval "capsh=\$(awk '/^CapBnd:/ { print \$2 }' /proc/${before%% *}/status); (( 0x\$capsh >> 16 & 1 ))"
is "without a way to new privileges" "$(awk '/^NoNewPrivs:/ { print $2 }' "/proc/${before%% *}/status")" 1

# A broker that dies before its job begins: the next one may have cleaned up behind it by then.
cat >/tmp/gone.py <<'PY'
import json, socket, sys
volume = {"uuid": "11111111-2222-4333-8444-555555555555", "thinId": 777, "role": "volume", "tenant": "default", "name": "late", "sizeBytes": 33554432,
          "filesystem": "none", "keySource": "none", "uid": 0, "gid": 0, "mode": 0o755}
job = {"verb": "volume_create", "pool": sys.argv[1], "volume": volume}
s = socket.socket(socket.AF_UNIX)
s.connect("/run/quarry/worker")
s.sendall(json.dumps({"method": "io.quarry.Worker.Run", "more": True, "parameters": {"job": job}}).encode() + b"\0")
answer = {"continues": len(sys.argv) > 2}
stream = s.makefile("rb")
while answer.get("continues"):
    text = b""
    while not text.endswith(b"\0"):
        text += stream.read(1)
    answer = json.loads(text[:-1])
sys.exit("error" in answer and text.decode())
PY
before=$(thin_ids | xargs)
ok "a broker that hangs up at once" as_quarry python3 /tmp/gone.py "$(pool_uuid)"
sleep 3
is "has nothing done" "$(thin_ids | xargs)" "$before"
ok "one that stays" as_quarry python3 /tmp/gone.py "$(pool_uuid)" stay
is "has its job done" "$(thin_ids | xargs)" "$before 777"
try dmsetup message "quarry-$(pool_uuid)" 0 delete 777

# A listener that is not root takes the place of the worker.
cat >/tmp/impostor.py <<'PY'
import socket, time
s = socket.socket(socket.AF_UNIX)
s.bind("/run/impostor/worker")
s.listen()
while True:
    peer = s.accept()[0]
    open("/tmp/heard", "ab").write(peer.recv(65536))
PY
try systemctl stop quarryd
install -d -o nobody /run/impostor
setpriv --reuid=nobody --regid=nogroup --clear-groups -- python3 /tmp/impostor.py &
impostor=$!
try wait_for 10 test -S /run/impostor/worker
chmod 0666 /run/impostor/worker
mv /run/quarry/worker /run/quarry/worker.real
mv /run/impostor/worker /run/quarry/worker
refused "quarryd gives no job to a worker that is not root" 6 'belongs to uid 65534, not to root' timeout 30 quarry create fooled --size 32M --encrypt
is "and tells it nothing" "$(cat /tmp/heard 2>/dev/null)" ""
end $impostor
mv /run/quarry/worker.real /run/quarry/worker
try systemctl restart quarryd
refused "nothing came of it" 3 '' quarry exists fooled

# --- a plain user ---
exits "a plain user's ls works" 0 as_nobody quarry ls --no-legend
is "and is empty" "$out" ""
exits "pool ls too" 0 as_nobody quarry pool ls --no-legend
is "is empty" "$out" ""
refused "status does not say that all is well" 6 'only administrators' as_nobody quarry status
refused "inspecting somebody's volume" 3 'there is no volume' as_nobody quarry inspect theirs
theirs=$err
refused "and one that is not there" 3 'there is no volume' as_nobody quarry inspect nobodys
is "are answered the same" "${theirs//theirs/NAME}" "${err//nobodys/NAME}"
refused "by UUID too" 3 'there is no volume' as_nobody quarry inspect "$(volume_uuid theirs)"
refused "mount" 3 'there is no volume' as_nobody quarry mount theirs
refused "rm" 3 'there is no volume' as_nobody quarry rm theirs
refused "create" 6 'may not create volumes' as_nobody quarry create mine --size 32M
like "says who may" "$err" 'quarry-admin'
refused "create of an existing name tells no more" 6 'may not create volumes' as_nobody quarry create theirs --size 32M
refused "pool create" 6 'administrators' as_nobody quarry pool create p --file /tmp/p.img --size 512M
refused "pool inspect" 6 'administrators' as_nobody quarry pool inspect default
refused "pool rm" 6 'administrators' as_nobody quarry pool rm default
refused "pool export" 6 'administrators' as_nobody quarry pool export default
refused "pool import" 6 'administrators' as_nobody quarry pool import
is "nothing happened" "$(quarry ls --no-legend -o name)" theirs

# --- an administrator who is not root ---
exits "a member of quarry-admin creates" 0 as_admin quarry create admins --size 32M
is "sees everything" "$(as_admin quarry ls --no-legend -o name | xargs)" "admins theirs"
exits "mounts at the standard place" 0 as_admin quarry mount admins
mkdir -p /tmp/target
chown nobody /tmp/target
refused "elsewhere only by own rights" 6 'takes root' as_admin quarry mount admins /tmp/target
ok "inspects the pool" as_admin quarry pool inspect default
ok "unmounts" as_admin quarry umount admins
ok "and removes" as_admin quarry rm admins

# --- a file of a filesystem that never answers a close ---
cat >/tmp/stuck.py <<'PY'
"""Mounts a file on which open() works, and no close(): its FLUSH is never answered."""
import ctypes, os, struct, sys
fuse = os.open("/dev/fuse", os.O_RDWR)
open(sys.argv[1], "w").close()
libc = ctypes.CDLL(None, use_errno=True)
if libc.mount(b"stuck", sys.argv[1].encode(), b"fuse", 0, f"fd={fuse},rootmode=100000,user_id=0,group_id=0,allow_other".encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
attributes = struct.pack("<QII6Q10I", 3600, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0o100666, 1, 0, 0, 0, 4096, 0)
ANSWERS = {26: struct.pack("<IIIIHHIIHHI28x", 7, 31, 65536, 0, 12, 9, 65536, 1, 0, 0, 0), 3: attributes, 14: struct.pack("<QII", 1, 0, 0)}
while True:
    _, opcode, unique = struct.unpack_from("<IIQ", os.read(fuse, 1 << 18))
    if opcode in ANSWERS:
        os.write(fuse, struct.pack("<IiQ", 16 + len(ANSWERS[opcode]), 0, unique) + ANSWERS[opcode])
PY
cat >/tmp/send.py <<'PY'
import array, json, os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect("/run/quarry/io.quarry")
fd = os.open("/tmp/stuck", os.O_RDONLY)
s.sendmsg([sys.argv[1].encode() + b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
print(s.recv(65536).split(b"\0")[0].decode(), flush=True)
PY
useradd --no-create-home mallory
try quarry tenant create acme --user mallory
python3 /tmp/stuck.py /tmp/stuck &
stuck=$!
try wait_for 10 grep -q /tmp/stuck /proc/mounts
send() { setpriv --reuid=mallory --regid=mallory --init-groups -- python3 /tmp/send.py "$1" >"/tmp/sent.$2" & }
send '{"method":"io.quarry.Volume.Create","parameters":{"volume":"v","sizeBytes":33554432,"keySource":"passphrase","keyFileDescriptor":0}}' create
send '{"method":"x"}' unknown
send 'garbage' garbage
ok "a member who sends such a file is answered" wait_for 20 grep -q BadRequest /tmp/sent.create
like "clearly" "$(cat /tmp/sent.create)" 'only administrators may send others than memfds'
ok "also for what is no method" wait_for 20 grep -q MethodNotFound /tmp/sent.unknown
exits "and holds up nobody" 0 timeout 60 quarry ls
exits "nor a worker" 0 timeout 60 quarry create after --size 32M
exits "and does not keep quarryd from ending" 0 timeout 30 systemctl restart quarryd
exits "and going on" 0 timeout 60 quarry inspect after
end $stuck

finish
