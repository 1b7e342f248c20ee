#!/bin/bash
# systemd's clients of storage, of a Debian that is newer than 13: tests/newer/storage-clients.sh in a machine of that.
# host: yes
set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
export QUARRY_VM_ROOT=newer

if ! why=$("$top/tests/vm/setup" 2>&1); then
    echo "ok 1 - systemd's clients of storage # SKIP a root of Debian $(<"$top/tests/newer/release") cannot be had: $(tail -n 1 <<<"$why")"
    echo "1..1"
    exit
fi
exec "$top/tests/vm/run" --disk 2G --timeout 420 "$top/tests/newer/storage-clients.sh"
