# bash completion for quarry: what a word can be, the command itself tells.
# shellcheck shell=bash

_quarry() {
    local line=${COMP_LINE:0:COMP_POINT} word cut i
    local -a words=() found
    COMPREPLY=()

    # bash has split the line at = : and @ too; here a word ends where it ends for the command
    for ((i = 0; i <= COMP_CWORD; i++)); do
        word=${line#"${line%%[![:space:]]*}"}
        if [ "$word" = "$line" ] && [ $i -gt 0 ]; then
            cut=${words[-1]} && unset 'words[-1]'
        else
            cut=
        fi
        line=$word
        [[ $line == "${COMP_WORDS[i]}"* ]] && word=${COMP_WORDS[i]}
        line=${line#"$word"}
        words+=("$cut$word")
    done
    for i in "${!words[@]}"; do # quotes are not part of them
        words[i]=${words[i]#[\"\']} && words[i]=${words[i]%[\"\']}
    done

    mapfile -t found < <(quarry complete -- "${words[@]:1}" 2>/dev/null)
    word=${2#[\"\'=:]} # what bash puts the reply in the place of; the rest stands already
    cut=${words[-1]%"$word"}
    for word in "${found[@]%%$'\t'*}"; do
        [[ $word == *[/=,] ]] && compopt -o nospace
        [[ $word == *[^A-Za-z0-9_./:=@,+-]* ]] && printf -v word %q "$word"
        COMPREPLY+=("${word#"$cut"}")
    done
    compopt -o nosort
}

complete -F _quarry quarry
