#!/bin/bash
# Keys of encrypted volumes, and the host's: cryptsetup is the judge.
# machine: --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

mkdir -p /etc/quarry/quarry.conf.d
printf '[Encryption]\nArgon2Memory=1M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/fast.conf
try quarry pool create default /dev/vda
root=/run/quarry/mnt/default
host_key=/var/lib/quarry/host-key

thin() { echo "/dev/mapper/quarry-$(volume_uuid "$1")"; }
crypt() { echo "quarry-$(volume_uuid "$1")-crypt"; }
secret() { # NAME: a passphrase in /run/NAME
    printf %s "$1-$RANDOM$RANDOM" >"/run/$1"
}
opens() { # VOLUME FILE: the thin device is open as long as the volume is
    cryptsetup open --test-passphrase --key-file "$2" "$(thin "$1")"
}
slots() { json '[.volumes[0].keyslots[] | .kind] | sort | join(" ")' quarry key status "$1"; }
key_id() { json '.keys[0].id' quarry key status; }
wrapped_by() { json '.volumes[0].hostKey // "none"' quarry key status "$1"; }
for s in one two three wrong; do secret $s; done

# --- of a volume with a passphrase ---
try quarry create vault --size 32M --key-file /run/one
try quarry mount vault --key-file /run/one
echo content >$root/vault/file
is "it has one key" "$(slots vault)" passphrase
like "as is said to people" "$(quarry key status vault)" 'Keyslots: +0  passphrase, argon2id'
like "and where it is now" "$(quarry key status vault)" 'in the kernel'
refused "another is not added without a present one" 6 'passphrase and none was given' \
    quarry key add vault --new-key-file /run/two
refused "nor with a wrong one" 6 'does not open volume vault' \
    quarry key add vault --key-file /run/wrong --new-key-file /run/two
exits "add, while it is mounted" 0 quarry key add vault --key-file /run/one --new-key-file /run/two
ok "both open it, says cryptsetup" eval 'opens vault /run/one && opens vault /run/two'
exits "the same again is fine" 0 quarry key add vault --key-file /run/one --new-key-file /run/two
is "and adds nothing" "$(slots vault)" "passphrase passphrase"
exits "change" 0 quarry key change vault --key-file /run/two --new-key-file /run/three
ok "the new one opens it" opens vault /run/three
not_ok "the old one does not" opens vault /run/two
refused "remove by a passphrase that opens nothing" 6 'to be removed does not open' \
    quarry key remove vault --removed-key-file /run/two --key-file /run/one
refused "remove what alone is shown to open it" 6 'one that stays must be shown' \
    quarry key remove vault --removed-key-file /run/one --key-file /run/one
refused "remove a slot that is not there" 2 'no keyslot 9' quarry key remove vault --slot 9 --key-file /run/one
exits "remove" 0 quarry key remove vault --removed-key-file /run/one --key-file /run/three
not_ok "it opens it no more" opens vault /run/one
refused "the last one stays" 1 'has no other key' quarry key remove vault --removed-key-file /run/three --key-file /run/three
exits "the host key is added" 0 quarry key add vault --host --key-file /run/three
is "which makes two" "$(slots vault)" "host passphrase"
like "luksDump knows it" "$(cryptsetup luksDump "$(thin vault)")" '0: quarry-host-key'
is "it is told so" "$(json '.volumes[0].encryption.keySource' quarry inspect vault)" host
try quarry umount vault
is "it mounts without a question" "$(cat "$(quarry mount vault)/file")" content
exits "the passphrase goes: the host key stays" 0 quarry key remove vault --removed-key-file /run/three
refused "the host key does not go behind it" 1 'has no other key' quarry key remove vault --host
exits "one comes, by the host key" 0 quarry key add vault --new-key-file /run/one
exits "and the host key goes" 0 quarry key remove vault --host --key-file /run/one
is "with its token" "$(cryptsetup luksDump "$(thin vault)" | grep -c quarry-host-key)" 0
try quarry umount vault
refused "then a passphrase is needed again" 6 'none was given' quarry mount vault

# --- lock and unlock ---
try quarry mount vault --key-file /run/one
refused "one that is in use is not locked" 4 'in use' quarry key lock vault
like "how to is said" "$err" 'quarry umount vault; or quarry key lock --suspend vault'
try quarry umount vault
exits "lock" 0 quarry key lock vault
is "nothing of it is in the kernel" "$(dmsetup ls | grep -c "$(volume_uuid vault)")" 0
refused "it does not mount, with the passphrase" 6 'volume vault is locked' quarry mount vault --key-file /run/one
like "what to run is said" "$err" 'quarry key unlock vault'
try systemctl restart quarryd.service
refused "nor behind a restart" 6 'volume vault is locked' quarry mount vault --key-file /run/one
refused "unlock with a wrong one" 6 'does not open volume vault' quarry key unlock vault --key-file /run/wrong
exits "unlock" 0 quarry key unlock vault --key-file /run/one
exits "it mounts without the passphrase" 0 quarry mount vault
exits "lock --suspend" 0 quarry key lock --suspend vault
is "it is suspended" "$(dmsetup info -c --noheadings -o suspended "$(crypt vault)")" Suspended
not_ok "its key is gone from the kernel" dmsetup resume "$(crypt vault)"
timeout 600 sh -c "echo late >$root/vault/late; sync -f $root/vault" &
writer=$!
refused "a snapshot is refused at once" 6 'vault is locked' timeout 20 quarry snapshot vault
refused "umount too" 6 'vault is locked' timeout 20 quarry umount vault
refused "resize too" 6 'vault is locked' timeout 20 quarry resize vault +8M --key-file /run/one
refused "trim too" 6 'vault is locked' timeout 20 quarry trim vault
refused "rename too" 6 'vault is locked' timeout 20 quarry rename vault other
ok "the daemon and its lists go on" timeout 20 quarry ls
like "key status tells" "$(quarry key status vault)" 'who touches it waits; locked'
try systemctl restart quarryd.service
refused "also behind a restart" 6 'vault is locked' timeout 20 quarry umount vault
ok "the writer waits" kill -0 $writer
exits "unlock" 0 quarry key unlock vault --key-file /run/one
wait $writer
is "the writer went on" $? 0
is "what it wrote is there" "$(cat $root/vault/late)" late
try quarry umount vault

# --- its header ---
exits "backup" 0 quarry key backup vault --to /run/backup
refused "to a file that is there" 7 'is there already' quarry key backup vault --to /run/backup
is "is only its owner's" "$(stat -c %a /run/backup)" 600
ok "cryptsetup reads it, and the passphrase opens it" cryptsetup open --test-passphrase --key-file /run/one /run/backup
try quarry key change vault --key-file /run/one --new-key-file /run/two
refused "restored while it is mounted" 4 'in use' eval 'quarry mount vault --key-file /run/two >/dev/null && quarry key restore vault --from /run/backup --yes'
try quarry umount vault
exits "restored" 0 quarry key restore vault --from /run/backup --yes
is "the old passphrase opens it, and its content is whole" "$(cat "$(quarry mount vault --key-file /run/one)/file")" content
try quarry umount vault
try quarry create other --size 32M --fs none --key-file /run/one
refused "that of another volume" 2 'of another volume' quarry key restore other --from /run/backup --yes
head -c 100000 /run/backup >/run/cut
refused "half of one" 2 'no LUKS2 header' quarry key restore vault --from /run/cut --yes
head -c "$(stat -c %s /run/backup)" /dev/urandom >/run/noise
refused "noise" 2 'no LUKS2 header' quarry key restore vault --from /run/noise --yes
dd if=/dev/zero of="$(quarry key status other >/dev/null; thin other)" bs=1M count=1 conv=notrunc status=none 2>/dev/null
ok "it is as it was" eval 'quarry mount vault --key-file /run/one && quarry umount vault'

# --- the host key ---
try quarry create a --size 32M --encrypt
try quarry create b --size 32M --encrypt --fs none
try quarry mount a
echo "of a" >$root/a/file
try quarry snapshot a@before b@before
old=$(key_id)
cp $host_key /root/old-key
like "status tells where it comes from" "$(quarry key status)" "Host key: +$old"$'\n''From: +/var/lib/quarry/host-key'
is "and how many need it" "$(json '.keys[0].volumes' quarry key status)" 4
exits "rotate, while one is mounted" 0 quarry key rotate
new=$(key_id)
not_ok "the key is another" test "$old" = "$new"
for v in a b a@before b@before; do
    is "$v is wrapped by it" "$(wrapped_by $v)" "$new"
done
is "of the old one nothing is left" "$(find /var/lib/quarry -name '*host-key*')" $host_key
is "nobody needs another" "$(json '[.keys[].volumes] | join(" ")' quarry key status)" 4
echo later >$root/a/file
try quarry umount a
is "the snapshot mounts" "$(cat "$(quarry mount -o ro a@before)/file")" "of a"
try quarry umount a@before
exits "a clone of it" 0 quarry clone a@before c
is "has its content" "$(cat "$(quarry mount c)/file")" "of a"
exits "rollback" 0 quarry rollback a@before
is "and it is what it was" "$(cat "$(quarry mount a)/file")" "of a"
try quarry umount a c
not_ok "the bytes of neither key are on the disk" python3 - /root/old-key $host_key <<'PY'
import sys
keys = [open(name, "rb").read() for name in sys.argv[1:]]
tail = b""
with open("/dev/vda", "rb", buffering=0) as disk:
    while block := disk.read(4 << 20):
        if any(key in tail + block for key in keys):
            sys.exit(0)
        tail = block[-32:]
sys.exit(1)
PY
not_ok "nor is one in the journal" grep -qF -e "$(od -An -tx1 $host_key | tr -d ' \n')" -e "$(base64 $host_key)" <(journalctl --no-pager -o export)

# --- cut short ---
for n in 1 3; do
    quarry key rotate >/dev/null 2>&1 &
    rotation=$!
    sleep 0.$((n * 2))
    pkill -KILL -x quarryd
    pkill -KILL -x quarry-worker
    wait $rotation
    ok "killed in the middle: each opens, time $n" eval 'quarry mount a && quarry umount a && quarry mount b && quarry umount b && quarry mount -o ro a@before && quarry umount a@before'
done
# As libcryptsetup leaves it: it has begun to write over the keyslot, and the header still has it.
try quarry create half --size 32M --fs none --key-file /run/one
try quarry mount half --key-file /run/one
try quarry key add half --key-file /run/one --new-key-file /run/two
printf '{"type":"quarry-removed","keyslots":["1"]}' >/run/removed
try cryptsetup token import --json-file /run/removed "$(thin half)"
exits "a removal that was cut short: who comes next" 0 quarry key add half --key-file /run/one --new-key-file /run/three
not_ok "finishes it" opens half /run/two
is "and no keyslot is left" "$(slots half)" "passphrase passphrase"
try quarry key remove half --removed-key-file /run/three --key-file /run/one
try cryptsetup token import --json-file <(sed s/1/0/ /run/removed) "$(thin half)"
exits "but never that of the last key" 0 quarry key change half --key-file /run/one --new-key-file /run/two
ok "which was changed" opens half /run/two
done_by_itself() { [ "$(json '[.keys[] | select(.volumes > 0)] | length' quarry key status)" = 1 ] && [ -z "$(compgen -G "$host_key.*")" ]; }
ok "it goes on by itself" wait_for 60 done_by_itself

# --- where quarry cannot write ---
mkdir -p /etc/credstore
head -c 32 /dev/urandom >/etc/credstore/quarry.host-key
try systemctl stop quarryd.service
try wait_for 20 eval '! pgrep -x quarry-worker'
ok "what the file's key wrapped opens beside the credential" eval 'quarry mount a && quarry umount a'
ok "all are wrapped by the credential, by themselves" wait_for 60 eval '[ "$(wrapped_by b@before)" = "$(key_id)" ] && [ "$(wrapped_by c)" = "$(key_id)" ]'
like "which is what it is now" "$(quarry key status)" 'From: +the systemd credential'
is "for all" "$(json '.keys[1].volumes' quarry key status)" 0
refused "again: it is not quarry's to change" 1 'comes from the credential quarry.host-key, where quarry cannot write' \
    quarry key rotate
mv $host_key /root/file-key
ok "the file is not needed any more" eval 'quarry mount a && quarry umount a'

# --- whose they are ---
try quarry tenant create acme --user nobody
try quarry create acme/x --size 32M --fs none --encrypt
as_nobody() { setpriv --reuid nobody --regid nogroup --clear-groups "$@"; }
exits "a member locks" 0 as_nobody quarry key lock x
exits "and unlocks" 0 as_nobody quarry key unlock x
exits "and backs up" 0 as_nobody sh -c 'quarry key backup x >/dev/null'
refused "the host key is none of his" 6 'for administrators' as_nobody quarry key rotate
refused "nor is another's volume" 3 'no volume' as_nobody quarry key lock default/a

finish
