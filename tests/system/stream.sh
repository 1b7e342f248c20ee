#!/bin/bash
# Snapshots as streams: all of one and what is new, plain and encrypted, to another pool; proven as they are read; what
# is cut short, damaged or in the wrong place becomes nothing.
# machine: --disk 2G --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

useradd --no-create-home alice
root=/run/quarry/mnt/default
try quarry pool create one /dev/vda
try quarry pool create two /dev/vdb
volume_devices() { dmsetup ls | awk '$1 ~ /^quarry-[0-9a-f]/ { print $1 }' | grep -vxF "$(quarry pool ls --json | jq -r '.pools[].uuid' | sed 's/^/quarry-/')"; }
sum() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }
nothing_is_there() { [ -z "$(quarry ls --pool two --no-legend -o name)" ]; }
# what a snapshot holds, from the first to the last byte
image() { quarry send "$1" --format raw --to /run/image && sha256sum </run/image; rm -f /run/image; }

# --- all of it, and what is new ---
for kind in "ext4" "xfs" "ext4 --encrypt"; do
    # shellcheck disable=SC2086 # words
    try quarry create one:db --size 300M --fs $kind --label app=db --uid 5 --mode 2750
    try quarry mount db
    dd if=/dev/urandom of=$root/db/random bs=1M count=20 status=none
    echo first >$root/db/file
    try quarry snapshot db@a
    echo second >$root/db/file
    rm $root/db/random
    dd if=/dev/urandom of=$root/db/other bs=1M count=3 status=none
    sync -f $root/db
    try quarry resize db 400M
    try quarry snapshot db@b
    exits "$kind: send" 0 quarry send db@a --to /run/a
    exits "$kind: what differs from it" 0 quarry send db@b --since db@a --to /run/b
    ok "$kind: which is less" [ "$(stat -c %s /run/b)" -lt $(($(stat -c %s /run/a) / 2)) ]
    exits "$kind: receive" 0 quarry receive two:copy --from /run/a
    is "$kind: prints the name" "$out" two:copy
    is "$kind: with its snapshot" "$(quarry ls --pool two --type snapshot --no-legend -o name)" copy@a
    is "$kind: owner, mode and filesystem are those" "$(json '.volumes[0] | [.uid, .mode, .filesystem, .sizeBytes]' quarry inspect copy@a | jq -c .)" \
        "$(json '.volumes[0] | [.uid, .mode, .filesystem, .sizeBytes]' quarry inspect db@a | jq -c .)"
    try quarry mount -o ro copy@a
    is "$kind: it holds what that did" "$(cat $root/copy@a/file)" first
    try quarry umount copy@a
    if [ "$kind" = ext4 ]; then
        is "to the last byte" "$(image copy@a)" "$(image db@a)"
    fi
    exits "$kind: brought up to date" 0 quarry receive copy --from /run/b
    try quarry mount copy
    is "$kind: it holds all that is new" "$(sum $root/copy)" "$(sum $root/db)"
    if [ "$kind" = ext4 ]; then
        is "ext4: to the last byte" "$(image copy@b)" "$(image db@b)"
    fi
    is "$kind: and has grown as that did" "$(df --output=size $root/copy | tail -1)" "$(df --output=size $root/db | tail -1)"
    ok "$kind: and takes more" touch $root/copy/more
    sync -f $root/copy
    try quarry umount copy db
    refused "$kind: a second time" 7 'copy has that already: copy@b' quarry receive copy --from /run/b
    try quarry rm --yes --snapshots copy db
    rm /run/a /run/b
done
is "no device stays" "$(volume_devices)" ""

# --- what became zero, for a pool whose chunks are larger ---
try quarry pool create large --file /var/large --size 400M --chunk-size 1M
try quarry create one:raw --fs none --size 32M
device=$(quarry mount raw)
dd if=/dev/urandom of="$device" bs=1M count=32 oflag=direct status=none
try quarry snapshot raw@a
for range in "64K 64K" "5184K 192K" "10M 4M" "20M 1088K"; do try blkdiscard --offset "${range% *}" --length "${range#* }" "$device"; done
try quarry umount raw
try quarry snapshot raw@b
exits "received" 0 bash -o pipefail -c 'quarry send raw@a | quarry receive large:copy; quarry send raw@b --since raw@a | quarry receive copy'
is "to the last byte" "$(image copy@b)" "$(image raw@b)"
ok "and what is a chunk is given back" [ "$(json '.volumes[0].usedBytes' quarry inspect copy@b)" -le $((28 << 20)) ]
try quarry rm --yes --snapshots raw copy
try quarry pool rm --yes large

# --- with another key ---
printf pass >/run/pass
try quarry create one:vault --size 64M --key passphrase --key-file /run/pass
try quarry mount vault --key-file /run/pass
echo secret >$root/vault/file
try quarry snapshot vault@a
exits "without its passphrase" 0 quarry send vault@a --to /run/vault
not_ok "a stream tells nothing of what is in it" grep -qa secret <(zstd -dc /run/vault)
printf '[Encryption]\nArgon2Memory=32M\nArgon2MemoryTotal=32M\n' >/etc/quarry/quarry.conf.d/small.conf
try systemctl restart quarryd
refused "one that takes more of this host than it would itself" 1 'more memory than quarry.conf.* allows' \
    quarry receive two:vault2 --from /run/vault
ok "is not received" nothing_is_there
rm /etc/quarry/quarry.conf.d/small.conf
try systemctl restart quarryd
exits "nor is one needed there" 0 quarry receive two:vault2 --from /run/vault
refused "but to mount it" 6 passphrase quarry mount vault2
try quarry mount vault2 --key-file /run/pass
is "which then holds it" "$(cat $root/vault2/file)" secret
try quarry umount vault vault2
try quarry rm --yes --snapshots vault2 vault
rm /run/vault
try quarry create one:vault --size 64M --encrypt
try quarry snapshot vault@a
try quarry key add vault --new-key-file /run/pass
try quarry key remove vault --host --key-file /run/pass --yes
try quarry snapshot vault@b
try quarry send vault@a --to /run/vault
try quarry send vault@b --since vault@a --to /run/vault-new
try quarry receive two:vault2 --from /run/vault
exits "with the host's key: it can be another one" 0 quarry key rotate --yes
try quarry rollback vault2@a --yes --discard-current
exits "what is new has another key" 0 quarry receive vault2 --from /run/vault-new
is "and is listed with it" \
    "$(json '.volumes[].encryption.keySource' quarry inspect vault2 vault2@a vault2@b | xargs)" "passphrase host passphrase"
try quarry mount vault2 --key-file /run/pass
try quarry umount vault2
try quarry rm --yes --snapshots vault vault2
rm /run/vault-new
truncate -s 32M /run/luks
cryptsetup luksFormat --batch-mode --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/pass /run/luks
python3 <<'PY'
import hashlib, struct
def frame(data): # as zstd writes what cannot be compressed
    blocks = [data[i:i + 65536] for i in range(0, len(data), 65536)]
    return struct.pack("<IBI", 0xfd2fb528, 0xa0, len(data)) + b"".join(
        struct.pack("<I", len(b) << 3 | (i == len(blocks) - 1))[:3] + b for i, b in enumerate(blocks))
with open("/run/vault", "rb") as f:
    head = f.read(8)
    head += f.read(struct.unpack("<I", head[4:])[0])
size = (64 << 20) + (4 << 20)
stream = head + frame(b"rbd diff v2\nt" + struct.pack("<QI", 5, 1) + b"as" + struct.pack("<QQ", 8, size))
with open("/run/luks", "rb") as f:
    data = f.read(1 << 20)
stream += frame(b"w" + struct.pack("<QQQ", 16 + len(data), 0, len(data)) + data) + frame(b"e")
stream += struct.pack("<II", 0x184d2a5b, 32) + hashlib.blake2b(stream, digest_size=32).digest()
with open("/run/hostile", "wb") as f:
    f.write(stream)
PY
refused "a header that is not quarry's" 1 'not one of quarry' quarry receive two:vault --from /run/hostile
ok "leaves nothing" nothing_is_there
rm /run/vault /run/luks /run/hostile

# --- nothing half becomes a volume ---
try quarry create one:db --size 300M
try quarry mount db
dd if=/dev/urandom of=$root/db/random bs=1M count=40 status=none
try quarry snapshot db@a
exits "in a pipe" 0 bash -o pipefail -c 'quarry send db@a | quarry receive two:copy'
try quarry rm --yes --snapshots copy
try quarry send db@a --to /run/a
size=$(stat -c %s /run/a)
head -c $((size / 2)) /run/a >/run/cut
refused "one that is cut short" 2 "cut short at byte $((size / 2)).*quarry send db@a with --to FILE --resume" \
    quarry receive two:copy --from /run/cut
ok "leaves nothing" nothing_is_there
cp /run/a /run/flipped
python3 -c '
import sys
with open("/run/flipped", "r+b") as f:
    f.seek(int(sys.argv[1]))
    byte = f.read(1)[0]
    f.seek(-1, 1)
    f.write(bytes([byte ^ 1]))' $((size / 2))
refused "a bit that is another" 2 'the stream is damaged at byte [0-9]+' quarry receive two:copy --from /run/flipped
ok "leaves nothing" nothing_is_there
refused "no stream at all" 2 'that is no stream: .*quarry send NAME@SNAPSHOT writes' quarry receive two:copy --from /etc/services
cp /run/cut /run/again
exits "what was cut short is gone on with" 0 quarry send db@a --to /run/again --resume
is "and is what it was to be" "$(sha256sum </run/again)" "$(sha256sum </run/a)"
cp /run/cut /run/changed
python3 -c '
with open("/run/changed", "r+b") as f:
    text = f.read(400)
    f.seek(text.index(b"\"mode\":") + 7)
    f.write(b"3")'
refused "not with a header that was changed" 2 'of something else' quarry send db@a --to /run/changed --resume
refused "not with another snapshot" 2 'of something else' bash -c 'quarry snapshot db@c >&2; quarry send db@c --to /run/cut --resume'
for signal in INT TERM; do
    mkfifo /run/slow
    python3 -c '
import os, signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("quarry", ["quarry", "receive", "two:copy", "--from", "/run/slow"])' 2>/dev/null &
    child=$!
    exec 7>/run/slow
    head -c $((size / 2)) /run/a >&7
    wait_for 20 eval '[ "$(quarry ls --pool two --no-legend -o state)" = creating ]'
    kill -$signal $child
    exec 7>&-
    wait $child
    ok "ended by SIG$signal: nothing stays" wait_for 20 nothing_is_there
    rm /run/slow
done
mkfifo /run/slow
quarry receive two:copy --from /run/slow 2>/run/said &
child=$!
exec 7>/run/slow
head -c $((size / 2)) /run/a >&7
wait_for 20 eval '[ "$(quarry ls --pool two --no-legend -o state)" = creating ]'
systemctl kill -s KILL quarryd
wait $child
is "quarryd is killed: so it fails" $? 8
exec 7>&-
like "which is told" "$(cat /run/said)" 'quarryd'
ok "nothing stays" wait_for 30 nothing_is_there
is "and no device" "$(volume_devices | wc -l)" 1

# --- for Ceph: records as rbd merge-diff takes them, made one image by a reader of its own ---
exits "for Ceph" 0 quarry send db@a --format rbd --to /run/rbd
is "it is the same image" "$(python3 -c '
import hashlib, struct, sys
data, image, at = open("/run/rbd", "rb").read(), None, 12
assert data[:at] == b"rbd diff v1\n"
while data[at:at + 1] != b"e":
    tag, at = data[at:at + 1], at + 1
    if tag in b"ft":
        at += 4 + struct.unpack_from("<I", data, at)[0]
    elif tag == b"s":
        image, at = bytearray(struct.unpack_from("<Q", data, at)[0]), at + 8
    else:
        offset, length = struct.unpack_from("<QQ", data, at)
        image[offset:offset + length] = data[at + 16:at + 16 + length]
        at += 16 + length
print(hashlib.sha256(image).hexdigest() + "  -")')" "$(image db@a)"

# --- what does not fit ---
try quarry snapshot db@b
try quarry send db@b --since db@a --to /run/b
refused "without what it goes on from" 3 'no volume (two:)?copy' quarry receive two:copy --from /run/b
try quarry receive two:copy --from /run/a
refused "a name that is taken" 7 'copy exists already' quarry receive one:copy --from /run/a
try quarry mount copy
echo mine >$root/copy/mine
sync -f $root/copy
refused "a volume that has changed" 1 'not as it was received' quarry receive copy --from /run/b
is "keeps what it has" "$(cat $root/copy/mine)" mine
try quarry umount copy
try quarry rollback copy@a --yes --discard-current
quarry receive copy --from /run/slow 2>/run/said &
child=$!
exec 7>/run/slow
head -c 300 /run/b >&7
wait_for 20 eval '[ "$(json ".volumes[0].state" quarry inspect copy@b)" = creating ]'
refused "nobody waits for who writes" 4 'copy@b is being received' timeout 20 quarry mount -o ro copy@b
exits "nor for what it begins as" 0 timeout 20 quarry mount -o ro copy@a
try quarry umount copy@a
try quarry mount copy
echo mine >$root/copy/mine
try quarry umount copy
tail -c +301 /run/b >&7
exec 7>&-
wait $child
is "what was written meanwhile" $? 1
like "is not thrown away" "$(cat /run/said)" 'copy@b is there.*not as it was received'
try quarry mount copy
is "it is there" "$(cat $root/copy/mine)" mine
try quarry umount copy
try quarry rm --yes copy@b
try quarry rollback copy@a --yes --discard-current
exits "once it is as it was" 0 quarry receive copy --from /run/b
try quarry create one:other --size 64M
try quarry snapshot other@a
refused "since a snapshot of another volume" 2 'other@a is no snapshot of db' quarry send db@b --since other@a --to /run/x
not_ok "makes no file" [ -e /run/x ]
refused "a volume, which changes" 1 'snapshots are sent' quarry send db --to /run/x
refused "one that is not there" 3 'no snapshot|no volume' quarry send db@nix --to /run/x
refused "to a file that is there" 7 'is there already.*--resume' quarry send db@a --to /run/a
refused "by somebody without rights" 3 '' setpriv --reuid=alice --clear-groups quarry send db@a --to /tmp/x

# --- what does not fit into the pool ---
try quarry pool create small --file /var/small --size 400M
try quarry create small:rest --size 64M
try quarry mount rest
try quarry mount db
yes | head -c 260M >$root/db/random
try quarry snapshot db@large
end_of_pool() { quarry send db@large | quarry receive small:large; }
refused "a pool that fills up" 5 'pool small is nearly full' end_of_pool
is "keeps what it has, and nothing else" "$(quarry ls --pool small --type all --no-legend -o name)" rest
ok "whose writers are let go" wait_for 30 eval '[ "$(quarry ls --pool small --no-legend -o state)" = ready ]'
ok "and takes more" dd if=/dev/urandom of=$root/rest/file bs=1M count=4 conv=fsync status=none
finish
