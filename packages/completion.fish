# Completion of rootlun and rootlun-initramfs in fish. It offers the rows of the
# program's own --help: "  rootlun COMMAND  …" and "  --OPTION [VALUE]  …".
function __rootlun_offers
    set -l words (commandline -opc)
    set -l help $words[1] --help
    if string match -qr '(^|/)rootlun$' -- $words[1]; and set -q words[2]
        set help $words[1..2] --help
    end
    set -l option $words[-1]
    set -l word (commandline -ct)
    set -l joined ''
    if string match -qr '^-.*=' -- $word
        set joined (string replace -r '=.*' '=' -- $word)
        set option (string trim -rc = -- $joined)
        set word (string replace -r '^[^=]*=' '' -- $word)
    end
    set -l rows (command $help 2>/dev/null)
    if set -l value (string match -rg -- "^  $option (\S+)  " $rows); and string match -q -- '-*' $option
        if string match -qr 'FILE|DIR|SRC' -- $value
            string replace -r -- '^' $joined (__fish_complete_path $word)
        end
        return
    end
    string replace -rf '^  (?:rootlun ([a-z]+)|(--?[A-Za-z-]+)(?: \S+)?)  +(.*)' '$1$2\t$3' -- $rows
end
complete -c rootlun -f -a '(__rootlun_offers)'
complete -c rootlun-initramfs -f -a '(__rootlun_offers)'
