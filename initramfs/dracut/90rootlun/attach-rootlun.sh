#!/bin/sh
# A hook of dracut's, initqueue, where the image has no systemd: attaches the disk.
# It takes the time that it needs: dracut counts its own rounds.
# shellcheck disable=SC2154 # dracut's variables

rootlun attach > /dev/null
case $? in
    0)
        rm -f "$job"
        if [ "$root" = rootlun ] || getarg rd.rootlun.fallback= > /dev/null; then
            cancel_wait_for_dev "${root#block:}"
            root=block:$(readlink /run/rootlun/root)
        fi
        ;;
    21) rm -f "$job" ;;
    *) emergency_shell "The root's iSCSI disk could not be attached." ;; # and once more after it
esac
