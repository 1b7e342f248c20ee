#compdef quarry
# zsh completion for quarry: what a word can be, the command itself tells.

_quarry() {
    local line word
    local -a lines whole unfinished

    lines=("${(@f)$(quarry complete -- "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    for line in $lines; do
        word=${line%%$'\t'*}
        line=${word//:/\\:}${${line#$word}/$'\t'/:}
        if [[ $word == *[/=,] ]]; then unfinished+=($line); else whole+=($line); fi
    done
    _describe -V quarry whole -- unfinished -S ''
}

_quarry "$@"
