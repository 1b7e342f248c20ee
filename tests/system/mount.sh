#!/bin/bash
# How a volume is mounted: options, other ids for rootless containers, a context; and who may say what of these.
# machine: --disk 3G
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

here=$(dirname "$0")
for user in alice bob; do useradd --no-create-home "$user"; done
as() { setpriv --reuid="$1" --regid="$1" --init-groups -- "${@:2}"; }
options() { findmnt -no VFS-OPTIONS "$1"; }
uid=$(id -u alice) gid=$(id -g alice)
echo "alice:100000:65536" | tee /etc/subuid >/etc/subgid
mkdir -p /srv/a /srv/b
try quarry pool create default /dev/vda
try quarry tenant create acme --user alice
try quarry create db --size 64M --uid alice --gid bob --mode 2750
root=/run/quarry/mnt/default/db

# --- options ---
exits "it is mounted with options" 0 quarry mount db -o noexec,noatime --options nodiratime,nosymfollow
is "which the mount has" "$(options $root)" rw,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow
is "names of user and group were taken" "$(stat -c %U:%G:%a $root)" alice:bob:2750
cp /bin/true $root/program
ln -s program $root/link
is "nothing is run from there" "$($root/program; echo $?)" 126
not_ok "nor a link followed" cat $root/link
exits "once more in the same way" 0 quarry mount db -o nosymfollow,nodiratime,noexec,noatime
is "answers where" "$out" $root
refused "but not in another" 4 'with options rw,noexec,noatime,nodiratime,nosymfollow, not rw' quarry mount db
exits "elsewhere it has others, though" 0 quarry mount db /srv/a -o strictatime,ro
is "of its own" "$(options /srv/a)" ro,nosuid,nodev
ok "there it is run" /srv/a/program
not_ok "but not written" touch /srv/a/file
refused "nor does another mount hide it" 4 'already, with options ro,strictatime, not rw' quarry mount db /srv/a
exits "an administrator trusts it" 0 quarry mount db /srv/b -o suid,dev
is "at a target" "$(options /srv/b)" rw,relatime
refused "not at the standard place" 1 'need a target' quarry mount db -o dev
refused "options that contradict each other" 2 'ro and rw contradict' quarry mount db /srv/b -o ro,rw
refused "what is no option is told what is" 2 'known here: rw, ro, exec' quarry mount db /srv/b -o discard
try quarry umount db /srv/a /srv/b
try quarry snapshot db@s
exits "a snapshot is mounted with options" 0 quarry mount db@s -o ro,noexec
is "read-only among them" "$(options $root@s)" ro,nosuid,nodev,noexec,relatime
refused "and only so" 1 'can only be read' quarry mount db@s /srv/a -o rw
try quarry umount db@s
try quarry create raw --size 16M --fs none
refused "a device takes no options" 1 'no filesystem' quarry mount raw -o noexec
refused "a context means nothing without SELinux" 1 'runs without SELinux' quarry mount db --context system_u:object_r:t:s0
is "nothing was opened for that" "$(volume_devices)" ""

# --- ids ---
try as alice quarry create box --size 64M --uid 0 --gid 0
box=/run/quarry/mnt/acme/box
try quarry mount acme/box
exits "a volume shows other ids" 0 quarry mount acme/box /srv/a --idmap 7000:8000:5 --idmap 9000:9100:1000
is "0 as the first of the first range" "$(stat -c %u:%g /srv/a)" 7000:8000
ok "who has it writes" setpriv --reuid=7000 --regid=8000 --clear-groups touch /srv/a/zero
touch $box/six $box/far
chown 6:6 $box/six
chown 5000:5000 $box/far
is "and is 0 in the volume" "$(stat -c %u:%g $box/zero)" 0:0
is "ids behind the first range are in the second" "$(stat -c %u:%g /srv/a/six)" 9001:9101
is "those in none are nobody's" "$(stat -c %u:%g /srv/a/far)" 65534:65534
not_ok "who has no id there makes nothing" touch /srv/a/root
refused "nor does another mount hide it" 4 'already, perhaps with other ids' quarry mount acme/box /srv/a
try quarry umount /srv/a
rm $box/*

mkfifo /tmp/go
"$here/rootless" alice sh -c 'quarry mount acme/box /srv/b --userns $$ && id -u && stat -c %u:%g /srv/b && echo hello >/srv/b/own &&
    touch /srv/b/www && chown 33:33 /srv/b/www && echo $$ && cat /tmp/go' >/tmp/rootless 2>&1 &
ok "a rootless container mounts it" wait_for 30 eval '[ "$(wc -l </tmp/rootless)" -ge 4 ]'
is "it is root there and the volume its own" "$(sed -n 2,3p /tmp/rootless | xargs)" "0 0:0"
pid=$(sed -n 4p /tmp/rootless)
is "the host sees the user's ids" "$(stat -c %u:%g /proc/"$pid"/root/srv/b/own /proc/"$pid"/root/srv/b/www | xargs)" "$uid:$gid 100032:100032"
is "the volume has the container's" "$(stat -c %u:%g $box/own $box/www | xargs)" "0:0 33:33"
exits "root gives it that namespace, too" 0 quarry mount acme/box /srv/a --userns "$pid"
is "and sees the same" "$(stat -c %u:%g /srv/a/www)" 100032:100032
try quarry umount /srv/a
refused "who is not the user has no access to it" 6 'no access to the user namespace' as bob quarry mount acme/box /srv/a --userns "$pid"
# A descriptor of it that bob was handed by somebody says nothing about his rights either.
try quarry tenant update acme --user bob
cat >/tmp/hand <<'PY'
import json, os, pwd, socket, sys
bob, s = pwd.getpwnam("bob"), socket.socket(socket.AF_UNIX)
fd = os.open(sys.argv[1], os.O_RDONLY)
os.setresgid(bob.pw_gid, bob.pw_gid, bob.pw_gid)
os.setresuid(bob.pw_uid, bob.pw_uid, bob.pw_uid)
s.connect("/run/quarry/io.quarry")
call = {"method": "io.quarry.Volume.Mount",
        "parameters": {"volume": "acme/box", "detached": True, "userNamespaceFileDescriptor": 0}}
socket.send_fds(s, [json.dumps(call).encode() + b"\0"], [fd])
reply = json.loads(s.recv(65536)[:-1])
print(reply.get("error"), reply["parameters"].get("message"))
PY
like "nor is it another member's to give" "$(python3 /tmp/hand /proc/"$pid"/ns/user)" "PermissionDenied the user namespace is not yours: it was made by uid $uid"
like "the host's is nobody's" "$(python3 /tmp/hand /proc/1/ns/user)" 'BadRequest that is the user namespace of the host'
# It is not taken from who is no administrator: to close what it is may take for ever.
like "another namespace is none of users" "$(python3 /tmp/hand /proc/"$pid"/ns/mnt)" 'BadRequest .*only .* memfds and user namespaces'
like "nor is a file" "$(python3 /tmp/hand /etc/passwd)" 'BadRequest .*only .* memfds and user namespaces'
refused "not even root's" 2 'user namespace of the host' quarry mount acme/box /srv/a --userns 1
echo >/tmp/go
wait
for map in 5000:5000:1 $((uid + 1)):$gid:1 $uid:$((gid + 1)):1 $uid:$gid:2 99999:100000:10 100000:100000:65537 100000:165000:1000; do
    refused "$map is not a member's to give" 6 'not yours to give' as alice quarry mount acme/box /srv/a --idmap "$map"
done
refused "the own id is, as far as that goes" 6 'attaching it .* takes root' as alice quarry mount acme/box /srv/a --idmap "$uid:$gid:1"
refused "and ranges of the user's" 6 'attaching it .* takes root' as alice quarry mount acme/box /srv/a --idmap "$uid:$gid:1" --idmap 100000:100000:65536
exits "in namespaces of the own it is attached" 0 "$here/rootless" alice sh -c "quarry mount acme/box /srv/a --idmap $uid:$gid:1 && cat /srv/a/own"
is "and read" "$(tail -1 <<<"$out")" hello
refused "options of administrators are not a member's" 6 'for administrators' as alice quarry mount acme/box /srv/a -o suid
refused "other ids need a target" 1 'need a target' as alice quarry mount acme/box --idmap "$uid:$gid:1"
refused "ranges that overlap" 2 'overlap' as alice quarry mount acme/box /srv/a --idmap 100000:100000:10 --idmap 100009:100100:10
refused "two ways at once" 2 'only one' as alice quarry mount acme/box /srv/a --idmap "$uid:$gid:1" --userns $$
try quarry create x --size 300M --fs xfs --encrypt
exits "XFS and encryption do not mind" 0 quarry mount x /srv/a --idmap 7000:8000:5
is "and show them" "$(stat -c %u:%g /srv/a)" 7000:8000
try quarry umount /srv/a

# --- names ---
try quarry umount acme/box
ok "a unit mounts a tenant's volume" systemctl start "quarry-mount@$(systemd-escape acme/box).service"
ok "at its place" mountpoint -q $box
try quarry tenant update acme --remove-user bob
refused "who may not take it away is told its name" 3 'there is no volume acme/box' as bob quarry umount $box
ok "the unit does" systemctl stop "quarry-mount@$(systemd-escape acme/box).service"
ok "which closes it" wait_for 30 eval '[ -z "$(volume_devices)" ]'

finish
