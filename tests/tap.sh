# Sourced by shell tests: one line of TAP for each claim, so that a driver can count them.
#   ok DESCRIPTION COMMAND [ARG...]      the command succeeds
#   not_ok DESCRIPTION COMMAND [ARG...]  it fails, but not by a signal
#   is DESCRIPTION GOT WANTED            two texts are the same
#   like DESCRIPTION TEXT REGEX          bash's =~
#   exits DESCRIPTION STATUS COMMAND...  its exit status; its outputs are in $out and $err afterwards
#   refused DESCRIPTION STATUS REGEX COMMAND...  its exit status, and what it says on stderr
#   skip DESCRIPTION REASON
#   finish                               the plan line, and the script's exit status
# shellcheck shell=bash

tap_count=0 tap_failed=0 out='' err=''

tap_result() { # tap_result STATUS DESCRIPTION
    tap_count=$((tap_count + 1))
    if [ "$1" = 0 ]; then
        echo "ok $tap_count - $2"
        return
    fi
    tap_failed=$((tap_failed + 1))
    echo "not ok $tap_count - $2"
}
tap_why() { printf '%s\n' "$@" | sed 's/^/#   /'; }

run() { # its outputs are in $out and $err, its status is returned
    local status=0 errors=${TMPDIR:-/tmp}/tap.$BASHPID
    out=$("$@" 2>"$errors") || status=$?
    err=$(<"$errors")
    return $status
}

ok() {
    local what=$1 status=0
    shift
    run "$@" || status=$?
    tap_result $status "$what"
    [ $status = 0 ] || tap_why "$*" "status $status" "$out" "$err"
}

not_ok() {
    local what=$1 status=0
    shift
    run "$@" || status=$?
    if [ $status != 0 ] && [ $status -lt 126 ]; then tap_result 0 "$what"; return; fi
    tap_result 1 "$what"
    tap_why "$*" "status $status" "$out" "$err"
}

exits() {
    local what=$1 wanted=$2 status=0
    shift 2
    run "$@" || status=$?
    if [ $status = "$wanted" ]; then tap_result 0 "$what"; return; fi
    tap_result 1 "$what"
    tap_why "$*" "status $status, wanted $wanted" "$out" "$err"
}

refused() {
    local what=$1 wanted=$2 regex=$3 status=0
    shift 3
    run "$@" || status=$?
    if [ $status = "$wanted" ] && [[ $err =~ $regex ]]; then tap_result 0 "$what"; return; fi
    tap_result 1 "$what"
    tap_why "$*" "status $status, wanted $wanted" "must say: $regex" "$out" "$err"
}

is() {
    if [ "$2" = "$3" ]; then tap_result 0 "$1"; return; fi
    tap_result 1 "$1"
    tap_why "got:    $2" "wanted: $3"
}

like() {
    if [[ $2 =~ $3 ]]; then tap_result 0 "$1"; return; fi
    tap_result 1 "$1"
    tap_why "got:  $2" "must match: $3"
}

skip() {
    tap_count=$((tap_count + 1))
    echo "ok $tap_count - $1 # SKIP $2"
}

finish() {
    rm -f "${TMPDIR:-/tmp}/tap.$BASHPID"
    echo "1..$tap_count"
    [ $tap_failed = 0 ]
    exit
}
