#!/bin/sh
# A hook of dracut's, cmdline: where anything asks for iSCSI, the root is rootlun's
# business, and nobody else's.
# shellcheck disable=SC2034,SC2154 # dracut's variables

modprobe -b -q iscsi_ibft # shows a BIOS's table
rootlun show > /dev/null 2>&1
if [ $? -ne 21 ]; then
    # The modules iscsi and network-*, where they are in the image.
    for _hook in iscsiroot dhcp-root ibft vlan bond team bridge ip-opts ifname \
        nm-config cm-config networkd-config ifname-genrules net-genrules; do
        rm -f "$hookdir"/cmdline/[0-9][0-9]-"$_hook".sh "$hookdir"/cmdline/[0-9][0-9]-parse-"$_hook".sh \
            "$hookdir"/pre-udev/[0-9][0-9]-"$_hook".sh
    done
    unset _hook
    case "$root" in
        "" | iscsi | iscsi:* | dhcp | dhcp6 | /dev/root | block:/dev/root)
            root=rootlun rootok=1
            ;;
    esac
    if getarg rd.rootlun.fallback= > /dev/null; then # the root may be another than root= says
        rm -f "$hookdir"/initqueue/finished/devexists-*.sh "$hookdir"/emergency/80-*.sh
    fi
    [ -n "$DRACUT_SYSTEMD" ] || echo '[ -h /run/rootlun/root ]' > "$hookdir/initqueue/finished/rootlun.sh"
fi
