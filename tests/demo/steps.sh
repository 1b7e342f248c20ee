# Sourced by the demo's boots: shows a command as one would type it, and what comes out.
# shellcheck shell=bash

say() { printf '\n# %s\n' "$*"; }
try() { # try COMMAND-LINE
    printf '$ %s\n' "$1"
    bash -o pipefail -c "$1" 2>&1 || { echo "demo: this failed with status $?"; exit 1; }
}
expect() { # expect DESCRIPTION COMMAND-LINE
    if bash -o pipefail -c "$2" >/dev/null 2>&1; then echo "  -> $1: yes"; else echo "  -> $1: NO"; exit 1; fi
}
