#!/bin/bash
# Mounted volumes under write load do not notice that the daemon is restarted, upgraded or killed. When the host
# stops, all are unmounted, closed and deactivated in order: nothing is recovered at the next boot.
# machine: --stop
# boots: 2
# takes: long
# shellcheck source=common disable=SC2016
. "$(dirname "$0")/common"

root=/run/quarry/mnt/default
volumes=30 # 100 take a slow host a quarter of an hour
checkout=$(realpath "$(dirname "$0")/../..")
volumes() { seq -f 'v%03g' 0 $((volumes - 1)); }
mounts() { grep " $root/" /proc/self/mountinfo | cut -d' ' -f1-5 | sort; }
# Of the pools and of volumes that there are: what was made ahead is closed in its own time.
uuids() { { quarry ls --json | jq -r '.volumes[].uuid'; quarry pool ls --json | jq -r '.pools[].uuid'; } | sed 'p; s/-/--/g'; }
devices() { dmsetup ls | grep -F "$ours" | sort; }
written() { cat /tmp/writer.count 2>/dev/null || echo 0; }
since() { systemctl show -P InvocationID quarry-mount@filed.service; }
all_listed() { [ "$(quarry ls --no-legend -o name,state,mounted | awk -v root="$root" '$2 == "ready" && $3 == root "/" $1 { print $1 }' | grep -c "^v")" = "$volumes" ]; }
# Creates (if asked to) and mounts them, four at a time and without a process for each; every tenth is encrypted.
cat >/tmp/mount.py <<'PY'
import concurrent.futures, sys
sys.path.insert(0, sys.argv[1] + "/tests/fake")
import wire
def call(method, **parameters):
    wire.Call("/run/quarry/io.quarry", f"io.quarry.Volume.{method}", parameters, timeout=300).result()
def one(i):
    name = f"v{i:03}"
    if "create" in sys.argv:
        call("Create", volume=name, sizeBytes=16 << 20, **({"keySource": "host"} if i % 10 == 0 else {}))
    call("Mount", volume=name)
with concurrent.futures.ThreadPoolExecutor(4) as pool:
    list(pool.map(one, range(int(sys.argv[2]))))
PY

# A file in every volume, written in turn; every write reaches the disk. Ends at the first write that fails.
cat >/tmp/writer.py <<'PY'
import os, sys, time
files = [open(f"{sys.argv[1]}/v{i:03}/log", "ab", buffering=0) for i in range(int(sys.argv[2]))]
n = 0
while True:
    for i, f in enumerate(files):
        try:
            f.write(b"%09d\n" % n)
            if (n + i) % 50 == 0:
                os.fsync(f.fileno())
        except OSError as e:
            with open("/tmp/writer.failed", "w") as report:
                print(f"volume {i}, round {n}: {e}", file=report)
            sys.exit(1)
    n += 1
    time.sleep(0.02)  # of a single processor the others need some, too
    with open("/tmp/writer.new", "w") as count:
        print(n, file=count)
    os.rename("/tmp/writer.new", "/tmp/writer.count")
PY

undisturbed() { # WHAT HAPPENED
    local before
    ok "after $1 all are listed, and as mounted" wait_for 60 all_listed
    is "after $1 the mounts are the same" "$(mounts)" "$mounts"
    is "after $1 the devices are the same" "$(devices)" "$devices"
    is "after $1 the unit of a mount has not been stopped" "$(since)" "$since"
    before=$(written)
    ok "after $1 the writer goes on" wait_for 60 eval "[ \$(written) -gt $((before + 2)) ]"
    is "after $1 no write has failed" "$(cat /tmp/writer.failed 2>&1)" "cat: /tmp/writer.failed: No such file or directory"
}

first_boot() {
    local mounts devices since ours

    try quarry pool create default /dev/vda
    try quarry pool create file --file /var/lib/quarry/file.img --size 400M
    try quarry create filed --pool file --size 16M
    try systemctl start quarry-mount@filed.service
    try python3 /tmp/mount.py "$checkout" $volumes create
    ok "$volumes volumes are mounted" wait_for 10 all_listed
    ours=$(uuids)
    mounts=$(mounts) devices=$(devices) since=$(since)
    python3 /tmp/writer.py $root $volumes >/dev/null 2>&1 &
    ok "all are written to" wait_for 60 eval '[ $(written) -gt 2 ]'

    try systemctl restart quarryd
    undisturbed "a restart"

    # An upgrade, as README has it; nothing is built here, since nothing has changed.
    try make --no-print-directory -C "$checkout" -o all install
    try systemctl daemon-reload
    try systemctl restart quarryd.socket
    undisturbed "an upgrade"
    try systemctl daemon-reexec
    try systemctl restart quarry-worker.socket quarryd.socket
    undisturbed "a restart of systemd and of the sockets"

    try systemctl kill -s KILL --kill-whom=main quarryd
    undisturbed "kill -9 of quarryd"
    pkill -9 -x quarry-worker
    pkill -9 -x quarryd
    undisturbed "kill -9 of quarryd and its workers"
    not_ok "nobody stops by mistake what closes the pools" systemctl stop quarry-pools.service

    # What is there when the pools are closed goes to a disk that stays.
    mkdir -p /etc/systemd/system/quarry-pools.service.d
    cat >/etc/systemd/system/quarry-pools.service.d/look.conf <<'UNIT'
[Service]
ExecStopPost=/bin/sh -c 'dmsetup ls >/var/lib/left; losetup -l -n >>/var/lib/left; grep quarry /proc/self/mountinfo >>/var/lib/left; echo looked >>/var/lib/left; journalctl -b -o short-monotonic -n 100 >/var/lib/left.log'
UNIT
    try systemctl daemon-reload
    rm -f /var/lib/left
}

# Every line of the log is there, from the first to the last.
log_is_whole() { awk '$1 + 0 != NR - 1 { bad = 1 } END { exit bad || NR < 3 }' "$root/$1/log"; }
whole() { local name; for name in $(volumes); do log_is_whole "$name" || { echo "$name"; return 1; }; done; }

second_boot() {
    local uuid holder nothing=$'No devices found\nlooked'

    is "at the stop all was closed before systemd took away the rest" "$(cat /var/lib/left)" "$nothing"
    [ "$(cat /var/lib/left)" = "$nothing" ] || tap_why "$(cat /var/lib/left.log)"
    # Nobody has asked for the pool yet: look at what the stop left.
    uuid=$(basename "$(grep -l '"default"' /var/lib/quarry/pools/*)")
    try lvchange -ay "quarry-$uuid/quarry-$uuid-catalog" "quarry-$uuid/quarry-$uuid-metadata"
    ok "the catalog's filesystem needs no recovery" eval "! dumpe2fs -h /dev/quarry-$uuid/quarry-$uuid-catalog 2>&1 | grep needs_recovery"
    ok "the pool's metadata is whole" thin_check "/dev/quarry-$uuid/quarry-$uuid-metadata"
    ok "all can be mounted again" python3 /tmp/mount.py "$checkout" $volumes
    is "no journal was replayed" "$(dmesg | grep -i '(dm-[0-9]*).*\(recovery\|orphan\)')" ""
    is "every log is whole" "$(whole)" ""
    try quarry mount filed
    volume_uuid filed >/tmp/filed

    # The same by hand, with one volume in use.
    (cd $root/v007 && exec sleep 1000) &
    holder=$!
    wait_for 5 eval "[ \"\$(readlink /proc/$holder/cwd)\" = $root/v007 ]"
    try systemctl stop quarryd.service quarryd.socket
    exits "a volume in use does not hinder the stop" 0 /usr/lib/quarry/quarry-worker --close-pools
    is "it stays, and nothing else" "$(volume_mounts) $(dmsetup ls | grep -c '^quarry-[0-9a-f]') $(losetup -l -n | wc -l)" "1 2 0"
    ok "and is as it was" log_is_whole v007
    end $holder
    exits "once it is free it is closed" 0 /usr/lib/quarry/quarry-worker --close-pools
    is "and nothing is left" "$(dmsetup ls; losetup -l -n; volume_mounts)" $'No devices found\n0'
    exits "closing nothing is fine" 0 /usr/lib/quarry/quarry-worker --close-pools

    # Whoever waits for a key would keep the host from stopping.
    try systemctl start quarryd.service quarryd.socket
    try quarry create locked --size 32M --encrypt
    try quarry mount locked
    echo kept >$root/locked/file
    try quarry key lock --suspend locked
    (echo late >$root/locked/late; sync $root/locked/late) 2>/dev/null &
    holder=$!
    try systemctl stop quarryd.service quarryd.socket
    exits "what is locked while it is in use does not hinder it" 0 timeout 60 /usr/lib/quarry/quarry-worker --close-pools
    is "and is closed" "$(dmsetup ls; losetup -l -n; volume_mounts)" $'No devices found\n0'
    ok "who waited for its key waits no more" wait_for 10 eval "! grep -q '^State:.D' /proc/$holder/status"
    try systemctl start quarryd.service quarryd.socket
    try quarry key unlock locked
    is "what was written before is there" "$(cat "$(quarry mount locked)/file")" kept
    try quarry umount locked

    # LVM's blkdeactivate takes devices away at the same time.
    try systemctl start quarryd.service quarryd.socket
    try quarry mount filed
    try systemctl stop quarryd.service quarryd.socket
    try umount $root/filed
    try dmsetup remove "quarry-$(< /tmp/filed)"
    try dmsetup remove "quarry-$(basename "$(grep -l '"file"' /var/lib/quarry/pools/*)")"
    exits "what has lost its upper half" 0 /usr/lib/quarry/quarry-worker --close-pools
    is "is closed all the same" "$(dmsetup ls; losetup -l -n; volume_mounts)" $'No devices found\n0'
}

case $1 in
    1) first_boot ;;
    2) second_boot ;;
esac
finish
