#!/bin/bash
# Ten power cuts under load: what was answered is true, and every byte that was synced is there.
# host: yes
# takes: long
exec "$(dirname "$0")/../torture/run" 10
