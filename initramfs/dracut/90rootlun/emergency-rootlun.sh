#!/bin/sh
# A hook of dracut's, emergency, where the image has systemd: says once more, above
# the shell, what systemd's lines have cut apart since.

if systemctl --quiet is-failed rootlun-attach.service; then
    journalctl --quiet --no-pager --output=cat _SYSTEMD_UNIT=rootlun-attach.service
fi
