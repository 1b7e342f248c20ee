#!/bin/bash
# The files of volumes as an archive of tar's: whole and with all that they have, while somebody writes, or not at all.
# machine: --disk 2G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

useradd --no-create-home alice
useradd --no-create-home bob
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
root=/run/quarry/mnt/default
try quarry pool create default /dev/vda
try quarry tenant create acme --user alice
try quarry tenant create beta --user bob
no_snapshot() { [ -z "$(quarry ls --type snapshot --no-legend -o name)" ]; }

# --- everything that a file has ---
try quarry create db --size 300M
try quarry mount db
mkdir -p $root/db/dir/deep $root/db/other
echo text >"$root/db/dir/a name
in two lines"
echo owned >$root/db/dir/owned
chown 1234:4321 $root/db/dir/owned
chmod 4751 $root/db/dir/owned
setfacl -m u:77:rw $root/db/dir/owned
setfattr -n user.comment -v kept $root/db/dir/owned
setfattr -n trusted.secret -v kept $root/db/dir/owned
ln $root/db/dir/owned $root/db/dir/again
ln -s ../nowhere $root/db/dir/link
mkfifo $root/db/dir/fifo
mknod $root/db/dir/null c 1 3
truncate -s 4G $root/db/dir/hole
printf end >>$root/db/dir/hole
chmod 2770 $root/db/dir/deep
mount -t tmpfs inner $root/db/other && echo mine >$root/db/other/file
described() { # FOLDER
    (
        cd "$1" || return
        find . -path ./log -prune -o -path ./other -prune -o -not -path . -printf '%p %y %m %U %G %n %l\n' | sort
        find dir -print0 | sort -z | xargs -0 getfacl -n -p
        find dir -print0 | sort -z | xargs -0 getfattr -h -d -m -
        sha256sum dir/owned dir/a*
        tail -c 3 dir/hole
        stat -c %s dir/hole
    )
}
python3 -c '
import os, sys
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
for n in range(1 << 30):
    os.write(fd, b"%d\n" % n)
    os.fsync(fd)
' $root/db/log &
writer=$!
wait_for 30 test -s $root/db/log
exits "of a volume that is written to" 0 quarry export db --to /run/db.tar
is "nothing is printed" "$out" ""
end $writer
ok "tar reads it" tar --list --file /run/db.tar
ok "a hole takes no place" [ "$(stat -c %s /run/db.tar)" -lt 2000000 ]
is "nobody else may read it" "$(stat -c %a /run/db.tar)" 600
ok "the snapshot that it was read from is gone" no_snapshot
try quarry create back --size 300M
try quarry mount back
try tar -x --acls --xattrs '--xattrs-include=*' --file /run/db.tar --directory $root/back
is "all is there: owners, permissions, links, devices, ACLs, attributes, holes" "$(described $root/back)" "$(described $root/db)"
ok "the hole is one again" [ "$(stat -c %b $root/back/dir/hole)" -lt 100 ]
not_ok "what is mounted in it is not followed" [ -e $root/back/other/file ]
is "and is as of one moment" "$(head -n "$(wc -l <$root/back/log)" $root/db/log | sha256sum)" "$(sha256sum <$root/back/log)"
umount $root/db/other

# --- to a pipe, of a snapshot ---
echo before >$root/db/state
try quarry snapshot db@one
echo behind >$root/db/state
is "of a snapshot: as it was then" "$(quarry export db@one | tar -x --to-stdout --file=- ./state)" before
is "and that stays" "$(quarry ls --type snapshot --no-legend -o name)" db@one
try quarry rm --yes db@one
exits "as JSON" 0 quarry export db --to /run/json.tar --json
is "the document names the file" "$(jq -r '[.version, .volume, .file] | tostring' <<<"$out")" '[1,"db","/run/json.tar"]'
refused "to a file that is there" 7 '/run/json.tar is there already' quarry export db --to /run/json.tar
exits "as JSON into nothing that could be it" 2 quarry export db --json
like "is refused as such" "$out" 'name a file for it'
refused "of what is not there" 3 'no volume nix' quarry export nix --to /run/nix.tar
not_ok "leaves no file" [ -e /run/nix.tar ]
try quarry create raw --size 16M --fs none
refused "of what has no files" 1 'has no filesystem' quarry export raw --to /run/raw.tar

# --- ended in the middle ---
not_ok "to somebody who reads no more" bash -o pipefail -c 'quarry export db | head -c 1 >/dev/null'
refused "says so" 1 'whoever reads the archive went away' bash -o pipefail -c 'quarry export db | head -c 1 >/dev/null'
ok "no snapshot stays" no_snapshot
mkfifo /run/slow
for signal in INT TERM; do
    # Of a process in the background the shell has SIGINT ignored.
    python3 -c '
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execvp("quarry", ["quarry", "export", "db"])' >/run/slow &
    exec 7</run/slow
    read -r -N 1 -u 7
    child=$!
    kill -$signal $child
    wait $child
    is "SIG$signal ends it" $? $((128 + $(kill -l $signal)))
    exec 7<&-
    ok "and no snapshot stays" no_snapshot
done

# --- encrypted ---
printf pass >/run/pass
printf wrong >/run/wrong
try quarry create vault --size 64M --key passphrase --key-file /run/pass
try quarry mount vault --key-file /run/pass
echo secret >$root/vault/file
refused "without its passphrase" 6 'passphrase' quarry export vault --to /run/vault.tar
not_ok "no file is left" [ -e /run/vault.tar ]
refused "with another one" 6 '' quarry export vault --to /run/vault.tar --key-file /run/wrong
ok "nor a snapshot" no_snapshot
exits "with its own" 0 quarry export vault --to /run/vault.tar --key-file /run/pass
is "it holds the file" "$(tar -x --to-stdout --file /run/vault.tar ./file)" secret

# --- not in the pool ---
try quarry create memory --kind tmpfs --size 16M
try quarry mount memory
echo fleeting >$root/memory/file
is "of a tmpfs volume" "$(quarry export memory | tar -x --to-stdout --file=- ./file)" fleeting

# --- by members ---
try quarry create acme/site --size 64M --uid alice
place=$(as alice quarry mount site)
as alice touch "$place/mine"
is "a member has their own" "$(as alice quarry export site | tar --list --file=- | grep -c mine)" 1
refused "and no others'" 3 '' as bob quarry export acme/site
touch "$place/roots"
chmod 600 "$place/roots"
refused "what they may not read makes it none" 1 'tar ended with 2: the archive is not whole' as alice quarry export site --to /tmp/site.tar
not_ok "and no file" [ -e /tmp/site.tar ]
refused "also where nobody hears of children that end" 1 'tar ended with 2: the archive is not whole' as alice python3 -c '
import os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.execvp("quarry", ["quarry", "export", "site", "--to", "/tmp/site.tar"])'
ok "no snapshot stays" no_snapshot
finish
