# fish completion for quarry: what a word can be, the command itself tells.

function __quarry_complete
    set -l before (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --cut-at-cursor --current-token)
    quarry complete -- $before[2..-1] "$current" 2>/dev/null
end

complete --command quarry --no-files --keep-order --arguments '(__quarry_complete)'
