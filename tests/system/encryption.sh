#!/bin/bash
# Encrypted volumes: plain LUKS2 for others, no plaintext on the disk, no key anywhere it should not be.
# machine: --disk 1G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

mkdir -p /etc/quarry/quarry.conf.d
printf '[Encryption]\nArgon2Memory=1M\nArgon2Iterations=4\n' >/etc/quarry/quarry.conf.d/fast.conf
echo /tmp/core.%p >/proc/sys/kernel/core_pattern
try quarry pool create default /dev/vda
root=/run/quarry/mnt/default

backing() { echo "/dev/mapper/quarry-$(volume_uuid "$1")"; }
worker_pids() { pgrep -x quarry-worker; }

# --- by the host's key ---
exits "create --encrypt" 0 quarry create secret --size 64M --encrypt
is "made a host key, root's alone" "$(stat -c '%U %a %s' /var/lib/quarry/host-key)" "root 400 32"
ok "it mounts without a question" quarry mount secret
table=$(dmsetup table --target crypt)
is "one crypt mapping" "$(wc -l <<<"$table")" 1
like "with 4096-byte sectors" "$table" 'sector_size:4096'
like "and discards" "$table" 'allow_discards'
like "AES-XTS" "$table" 'crypt aes-xts-plain64'
like "named after the volume" "$table" "^quarry-$(volume_uuid secret)-crypt:"
is "its size is what was asked for" "$(blockdev --getsize64 "$(backing secret)-crypt")" $((64 << 20))
exits "cryptsetup knows the header" 0 cryptsetup luksDump "$(backing secret)"
like "as LUKS2" "$out" 'Version: +[	 ]*2'
like "with that cipher" "$out" 'cipher: aes-xts-plain64'
like "4096-byte sectors" "$out" 'sector: 4096 \[bytes\]'
like "the volume's UUID" "$out" "UUID:[	 ]+$(volume_uuid secret)"
like "a token of quarry" "$out" '0: quarry'
like "and PBKDF2 on the random passphrase" "$out" 'PBKDF: +pbkdf2'
is "inspect says the same" "$(json '.volumes[0].encryption | [.cipher, .keySource, .sectorSize | tostring] | join(" ")' quarry inspect secret)" \
    "aes-xts-plain64 host 4096"
like "also for people" "$(quarry inspect secret)" 'LUKS2, aes-xts-plain64.*host'
like "ls shows the key source" "$(quarry ls)" 'secret .* host '

# --- what is on the disk ---
plain=$(head -c 24 /dev/urandom | base64 -w0)-open hidden=$(head -c 24 /dev/urandom | base64 -w0)-hidden
try quarry create open --size 64M
try quarry mount open
echo "$plain" >$root/open/file
echo "$hidden" >$root/secret/file
cp $root/secret/file $root/secret/again
sync
try quarry umount open secret
ok "the text in a plain volume is found on the pool's disk" holds_text /dev/vda "$plain"
not_ok "the text in an encrypted volume is found nowhere" holds_text /dev/vda "$hidden"
is "and is there for its user" "$(cat "$(quarry mount secret)/again")" "$hidden"
try quarry umount secret

# --- the host's key: missing, another, back ---
mv /var/lib/quarry/host-key /root/kept
refused "without the host key" 6 'no host key: /var/lib/quarry/host-key is missing' quarry mount secret
refused "nor is another one made, that would take its place" 6 'no host key' quarry create another --size 64M --encrypt
not_ok "there is none" test -e /var/lib/quarry/host-key
head -c 32 /dev/urandom >/var/lib/quarry/host-key
chmod 0400 /var/lib/quarry/host-key
refused "with another one" 6 'encrypted with another host key' quarry mount secret
like "where it belongs is said" "$err" 'restore .*/var/lib/quarry/host-key'
head -c 31 /dev/urandom >/var/lib/quarry/host-key
refused "with a short one" 1 'has 31 bytes' quarry mount secret
cp /root/kept /var/lib/quarry/host-key
chmod 0644 /var/lib/quarry/host-key
refused "with one that others can read" 1 'nobody else can read' quarry mount secret
chmod 0400 /var/lib/quarry/host-key
is "with its own again it opens" "$(cat "$(quarry mount secret)/file")" "$hidden"
try quarry umount secret
is "nothing was left open by the failures" "$(volume_devices)" ""

# --- the host's key as a systemd credential ---
mkdir -p /etc/credstore
mv /var/lib/quarry/host-key /etc/credstore/quarry.host-key
try systemctl stop quarryd.service
try wait_for 20 eval '! pgrep -x quarry-worker'
is "the credential quarry.host-key is used, without the file" "$(cat "$(quarry mount secret)/file")" "$hidden"
not_ok "and no file is made" test -e /var/lib/quarry/host-key
try quarry umount secret

# --- by passphrase ---
word=correct-horse-$RANDOM$RANDOM
printf %s "$word" >/run/word
printf %s "$word-not" >/run/wrong
refused "a passphrase volume without passphrase and terminal" 2 'passphrase is needed and there is no terminal' \
    quarry create vault --size 64M --key passphrase
like "says how to give one" "$err" 'key-file'
# shellcheck disable=SC2046 # words
strace -f -qq -e trace=execve,execveat -s 4096 -o /tmp/trace $(worker_pids | sed 's/^/-p /') &
tracer=$!
try wait_for 5 eval 'grep -q "TracerPid:.*[1-9]" /proc/$(pgrep -x quarry-worker | head -n 1)/status'
exits "create with a key file" 0 quarry create vault --size 64M --key-file /run/word --label kind=vault
end $tracer
ok "the workers started programs for it" grep -q mke2fs /tmp/trace
not_ok "none of which had the passphrase on its command line or in its environment" grep -qF "$word" /tmp/trace
refused "mount without it" 6 'encrypted with a passphrase and none was given' quarry mount vault
like "says how to give it" "$err" 'key-file FILE'
for n in first second; do
    refused "a wrong one says so, the $n time" 6 'that passphrase does not open volume vault' quarry mount vault --key-file /run/wrong
    is "and leaves nothing open" "$(volume_devices)" ""
done
exits "then the right one works" 0 quarry mount vault --key-file /run/word
echo vault >$root/vault/file
ok "mounted already, it needs no passphrase" quarry mount vault
ok "cryptsetup opens it with the passphrase" cryptsetup open --test-passphrase --key-file /run/word "$(backing vault)"
not_ok "and not with another" cryptsetup open --test-passphrase --key-file /run/wrong "$(backing vault)"
like "Argon2id guards it" "$(cryptsetup luksDump "$(backing vault)")" 'PBKDF: +argon2id'
for n in 1 2 3; do
    echo "further $n" >/run/further
    ok "passphrase $n is added" cryptsetup luksAddKey --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/word "$(backing vault)" /run/further
done
not_ok "for a fourth there is no room" cryptsetup luksAddKey --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /run/word "$(backing vault)" /run/further
try quarry umount vault
ok "each opens it" quarry mount vault --key-file /run/further
like "inspect names the source" "$(quarry inspect vault)" 'Key: +passphrase'
try quarry umount vault
is "from standard input" "$(quarry mount vault --key-file - </run/word)" $root/vault
try quarry umount vault
printf 'a\0b\nc\n' >/run/binary
printf 'a' >/run/cut
try quarry create binary --size 32M --fs none --key-file /run/binary
refused "a key file counts beyond its first zero byte" 6 'does not open' quarry mount binary --key-file /run/cut
exits "and to its last newline" 0 quarry mount binary --key-file /run/binary
try quarry umount binary

# --- asked on a terminal ---
cat >/tmp/terminal.py <<'PY'
import os, pty, re, select, sys, time
# terminal.py COMMAND... -- ANSWER...: types an answer at each prompt; prints what the terminal showed
at = sys.argv.index("--")
answers = sys.argv[at + 1:]
pid, tty = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:at])
shown = pending = b""
while True:
    try:
        block = os.read(tty, 4096)
    except OSError:
        break
    if not block:
        break
    shown += block
    pending += block
    if re.search(rb"(?:for [a-z]+|again): $", pending) and answers:
        os.write(tty, answers.pop(0).encode() + b"\n")
        pending = b""
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
exits "on a terminal it is asked for, and again when wrong" 0 python3 /tmp/terminal.py quarry mount vault -- wrong1 wrong2 "$word"
like "with a prompt" "$out" 'Passphrase for vault: '
like "told that it was wrong" "$out" 'does not open'
not_ok "not shown" grep -qF -e wrong1 -e "$word" <<<"$out"
is "mounted" "$(cat $root/vault/file)" vault
try quarry umount vault
exits "for a new one it is asked twice" 0 python3 /tmp/terminal.py quarry create typed --size 32M --fs none --key passphrase -- "$word" "$word"
exits "two that differ" 2 python3 /tmp/terminal.py quarry create other --size 32M --fs none --key passphrase -- "$word" "$word-not"
like "are refused" "$out" 'the two passphrases differ'
refused "nothing came of it" 3 '' quarry exists other
ok "what was typed is the passphrase" quarry mount typed --key-file /run/word
try quarry umount typed

# --- where keys must not be ---
not_ok "no passphrase in the journal" grep -qF "$word" <(journalctl --no-pager -o export)
try quarry mount vault --key-file /run/word
worker_pids | xargs kill -SEGV
try wait_for 10 eval '! pgrep -x quarry-worker'
is "a worker that crashes writes no core" "$(ls /tmp/core.* /core* 2>/dev/null)" ""
is "its volumes stay" "$(cat $root/vault/file)" vault
try quarry umount vault

# --- removal ---
uuid=$(volume_uuid vault)
exits "rm" 0 quarry rm vault
try blockdev --flushbufs /dev/vda
exits "destroys the keys: the header is left on the disk without a keyslot" 0 python3 - "$uuid" <<'PY'
import json, sys
# Every LUKS2 header of this UUID that is found on the disk: 4096 bytes of it, then JSON.
headers = 0
with open("/dev/vda", "rb") as disk:
    at = 0
    while block := disk.read(4096):
        if block[:6] in (b"LUKS\xba\xbe", b"SKUL\xba\xbe") and sys.argv[1].encode() in block[:512]:
            text = disk.read(int.from_bytes(block[8:16], "big") - 4096)
            if json.loads(text.split(b"\0")[0])["keyslots"]:
                sys.exit("a keyslot is left")
            headers += 1
            disk.seek(at + 4096)
        at += 4096
sys.exit(0 if headers else "no header found: the test looks in the wrong place")
PY
try quarry rm secret open binary typed
is "nothing is left in the kernel" "$(volume_devices)" ""
ok "nor in the pool" no_thin_device_is_left

finish
