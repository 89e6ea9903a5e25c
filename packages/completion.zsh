#compdef rootlun rootlun-initramfs
# Completion in zsh. It offers the rows of the program's own --help:
# "  rootlun COMMAND  …" and "  --OPTION [VALUE]  …".
local row before=$words[CURRENT-1]
local -a offers help=($words[1] --help)
if [[ $service = rootlun ]] && (( CURRENT > 2 )); then help=($words[1,2] --help); fi
if [[ $PREFIX = --*=* ]]; then
    before=${PREFIX%%=*}
    compset -P '*='
fi
for row in ${(f)"$(_call_program help $help 2>/dev/null)"}; do
    [[ $row =~ '^  (rootlun ([a-z]+)|(--?[A-Za-z-]+)( ([^ ]+))?)  +(.*)' ]] || continue
    if [[ $match[3] = $before && -n $match[5] ]]; then
        case $match[5] in
        *FILE* | DIR | SRC*) _files ;;
        *) _message $match[6] ;;
        esac
        return
    fi
    offers+=("$match[2]$match[3]:$match[6]")
done
_describe rootlun offers
