# Completion of rootlun and rootlun-initramfs in bash. It offers the rows of the
# program's own --help: "  rootlun COMMAND  …" and "  --OPTION [VALUE]  …".
_rootlun() {
    local row word=$2 before=$3 help=("$1" --help)
    local pattern='^  (rootlun ([a-z]+)|(--?[A-Za-z-]+)( ([^ ]+))?)  '
    if [ "${1##*/}" = rootlun ] && [ "$COMP_CWORD" -gt 1 ]; then help=("$1" "${COMP_WORDS[1]}" --help); fi
    if [ "$word" = = ]; then word=; fi # --output=FILE is three words to bash
    if [ "$before" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi
    COMPREPLY=()
    while IFS= read -r row; do
        [[ $row =~ $pattern ]] || continue
        local offer=${BASH_REMATCH[2]}${BASH_REMATCH[3]} value=${BASH_REMATCH[5]}
        if [ "$offer" = "$before" ] && [ -n "$value" ]; then
            COMPREPLY=()
            case $value in
            *FILE* | DIR | SRC*)
                compopt -o filenames
                mapfile -t COMPREPLY < <(compgen -f -- "$word")
                ;;
            esac
            return
        fi
        if [[ $offer = "$word"* ]]; then COMPREPLY+=("$offer"); fi
    done < <("${help[@]}" 2>/dev/null)
}
complete -F _rootlun rootlun rootlun-initramfs
