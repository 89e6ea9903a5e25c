#!/bin/sh
# A hook of dracut's, pre-pivot, where the image has no systemd.

rootlun handoff "$NEWROOT"
