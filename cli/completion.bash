# Completion for the quarry command. Verbs and options are asked of the command itself, names of the daemon,
# which gets two seconds.
# shellcheck shell=bash disable=SC2086,SC2207 # verbs are two words, and lists are split at newlines

_quarry_names() { # VERB: names of volumes or pools
    timeout 2 quarry $1 --no-legend -o name 2>/dev/null
}

_quarry_verbs() { # [PREFIX]: words of verbs, from the list that help prints
    quarry help 2>/dev/null | while IFS= read -r line; do
        [[ $line =~ ^\ \ ([a-z]+)(\ ([a-z]+))?\ \  ]] || continue
        if [ -z "${1-}" ]; then
            echo "${BASH_REMATCH[1]}"
        elif [ "${BASH_REMATCH[1]}" = "$1" ]; then
            echo "${BASH_REMATCH[3]}"
        fi
    done
}

_quarry_options() { # VERB: "--name" or "--name=" for those that take a value
    quarry help $1 2>/dev/null | while IFS= read -r line; do
        [[ $line =~ ^\ \ (-[a-z],|\ \ \ )\ --([a-z-]+)(\ [A-Z])? ]] || continue
        echo "--${BASH_REMATCH[2]}${BASH_REMATCH[3]:+=}"
    done
}

_quarry_columns() { # VERB
    quarry $1 --no-legend -o help 2>/dev/null | while read -r name _; do echo "$name"; done
}

_quarry_reply() { # WORDS CURRENT
    local IFS=$'\n'
    COMPREPLY=($(compgen -W "$1" -- "$2"))
}

_quarry_files() { # -f or -d, CURRENT
    local IFS=$'\n'
    compopt -o filenames
    COMPREPLY=($(compgen "$1" -- "$2"))
}

# The last part of a list with commas: what is before it stays.
_quarry_list() { # WORDS CURRENT
    local before=
    [[ $2 == *,* ]] && before=${2%,*},
    [[ $2 == +* && -z $before ]] && before=+
    local -a found
    local IFS=$'\n'
    found=($(compgen -W "$1" -- "${2#"$before"}"))
    COMPREPLY=("${found[@]/#/$before}")
    compopt -o nospace
}

_quarry_value() { # VERB OPTION CURRENT: returns 1 if the option takes no value
    case $2 in
    --tenant) _quarry_reply "$(_quarry_names 'tenant ls')" "$3" ;;
    --user | --remove-user) COMPREPLY=($(compgen -u -- "$3")) ;;
    --group | --remove-group) COMPREPLY=($(compgen -g -- "$3")) ;;
    --pool) _quarry_reply "$(_quarry_names 'pool ls')" "$3" ;;
    --fs) _quarry_reply $'ext4\nxfs\nnone' "$3" ;;
    --key) _quarry_reply $'host\npassphrase' "$3" ;;
    --key-file | --file) _quarry_files -f "$3" ;;
    --uid) COMPREPLY=($(compgen -u -- "$3")) ;;
    --gid) COMPREPLY=($(compgen -g -- "$3")) ;;
    -o | --output) _quarry_list "$(_quarry_columns "$1")"$'\nhelp' "$3" ;;
    --sort) _quarry_reply "$(_quarry_columns "$1")" "$3" ;;
    --filter)
        _quarry_list "$(_quarry_columns "${1/#prune/ls}")" "$3"
        COMPREPLY=("${COMPREPLY[@]/%/=}")
        ;;
    *) _quarry_options "$1" | grep -qxF -- "$2=" || return 1 ;;
    esac
}

_quarry_argument() { # VERB NUMBER CURRENT
    case $1 in
    help)
        if [ "$2" = 1 ]; then _quarry_reply "$(_quarry_verbs | sort -u)" "$3"
        else _quarry_reply "$(_quarry_verbs "${words[2]}")" "$3"; fi
        ;;
    inspect | rm) _quarry_reply "$(_quarry_names 'ls --type all')" "$3" ;;
    rename | resize) [ "$2" != 1 ] || _quarry_reply "$(_quarry_names ls)" "$3" ;;
    update) [ "$2" != 1 ] || _quarry_reply "$(_quarry_names 'ls --type all')" "$3" ;;
    trim | snapshot) _quarry_reply "$(_quarry_names ls)" "$3" ;;
    diff) [ "$2" -gt 2 ] || _quarry_reply "$(_quarry_names 'ls --type all')" "$3" ;;
    clone | rollback) [ "$2" != 1 ] || _quarry_reply "$(_quarry_names 'ls --type snapshot')" "$3" ;;
    hold | release) _quarry_reply "$(_quarry_names 'ls --type snapshot')" "$3" ;;
    exists) [ "$2" != 1 ] || _quarry_reply "$(_quarry_names ls)" "$3" ;;
    mount)
        if [ "$2" = 1 ]; then _quarry_reply "$(_quarry_names ls)" "$3"
        elif [ "$2" = 2 ]; then _quarry_files -d "$3"; fi
        ;;
    umount)
        case $3 in
        /* | .*) _quarry_files -d "$3" ;;
        *) _quarry_reply "$(_quarry_names ls)" "$3" ;;
        esac
        ;;
    'tenant inspect' | 'tenant rm') _quarry_reply "$(_quarry_names 'tenant ls')" "$3" ;;
    'tenant update') [ "$2" != 1 ] || _quarry_reply "$(_quarry_names 'tenant ls')" "$3" ;;
    'pool inspect' | 'pool rm') _quarry_reply "$(_quarry_names 'pool ls')" "$3" ;;
    'pool check' | 'pool export' | 'pool update') [ "$2" != 1 ] || _quarry_reply "$(_quarry_names 'pool ls')" "$3" ;;
    'pool extend')
        if [ "$2" = 1 ]; then _quarry_reply "$(_quarry_names 'pool ls')" "$3"
        else _quarry_files -f "${3:-/dev/}"; fi
        ;;
    'pool create') [ "$2" = 1 ] || _quarry_files -f "${3:-/dev/}" ;;
    'pool import') _quarry_files -f "${3:-/dev/}" ;;
    esac
}

_quarry() {
    local -a words=("${COMP_WORDS[@]}")
    local current=$2 previous=$3 verb=${COMP_WORDS[1]-} first=2 number=0 i
    COMPREPLY=()

    # "=" is a word of its own to bash: --option=value comes as three
    if [ "$current" = = ]; then
        current=
    elif [ "$previous" = = ] && [ "$COMP_CWORD" -ge 3 ]; then
        previous=${words[COMP_CWORD - 2]}
    fi

    if [ "$COMP_CWORD" = 1 ]; then
        _quarry_reply "$(_quarry_verbs | sort -u)"$'\n--help\n--version' "$current"
        return
    fi
    if [ "$verb" = pool ] || [ "$verb" = tenant ]; then
        if [ "$COMP_CWORD" = 2 ]; then
            _quarry_reply "$(_quarry_verbs "$verb")" "$current"
            return
        fi
        verb="$verb ${words[2]}" first=3
    fi

    if [[ $previous == -* ]] && _quarry_value "$verb" "$previous" "$current"; then
        return
    fi
    if [[ $current == -* ]]; then
        local option
        for option in $(_quarry_options "$verb"); do
            [[ $option == "$current"* ]] && COMPREPLY+=("${option%=}")
        done
        return
    fi
    for ((i = first; i <= COMP_CWORD; i++)); do
        if [[ ${words[i]} != -* && ${words[i]} != = && ${words[i - 1]} != = && ${words[i - 1]} != -o ]] &&
            { [[ ${words[i - 1]} != -* ]] || ! _quarry_options "$verb" | grep -qxF -- "${words[i - 1]}="; }; then
            number=$((number + 1))
        fi
    done
    _quarry_argument "$verb" "$number" "$current"
}

complete -F _quarry quarry
