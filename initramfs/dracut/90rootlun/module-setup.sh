#!/bin/bash
# The dracut module of rootlun(8), for dracut 059 and newer, with systemd in the
# image and without. Where it is in, it takes the place of the module iscsi, and of
# the modules of the network for the NICs that lead to the root.
# shellcheck disable=SC2154 # dracut's variables

# Every image gets it that is not for one machine; of those, each whose root is on
# an iSCSI disk now.
check() {
    require_binaries rootlun || return 1
    require_kernel_modules iscsi_tcp || return 1
    if [[ $hostonly || $mount_needs ]]; then
        rootlun-initramfs host &> /dev/null
        [[ $? -ne 21 || " $dracutmodules $add_dracutmodules $force_add_dracutmodules " == *\ rootlun\ * ]] || return 255
    fi
    # Where someone insists on iscsi, or it is in already, parse-rootlun.sh keeps it idle.
    [[ " $dracutmodules $force_add_dracutmodules " == *\ iscsi\ * ]] || omit_dracutmodules+=" iscsi "
    return 0
}

depends() {
    dracut_module_included systemd || echo rootfs-block
}

installkernel() {
    hostonly='' instmods iscsi_tcp iscsi_ibft crc32c sd_mod af_packet
    instmods '=drivers/net/ethernet' '=drivers/net/phy' '=drivers/net/mdio' '=drivers/net/usb' '=drivers/net/hyperv' \
        virtio_net vmxnet3 xen-netfront ipv6 8021q bonding
}

# What the image of this machine has to know of the root that no firmware and no
# boot loader will tell.
cmdline() {
    rootlun-initramfs host
}

install() {
    inst_multiple rootlun
    inst_multiple -o /etc/rootlun/credentials
    if [[ $hostonly ]]; then
        inst_multiple -H -o /etc/iscsi/initiatorname.iscsi /etc/iscsi/iscsi.initramfs
    fi
    if [[ $hostonly_cmdline == yes ]]; then
        rootlun-initramfs host --credentials "$initdir/etc/rootlun/credentials" > "$initdir/etc/cmdline.d/90rootlun.conf"
    fi
    inst_hook cmdline 89 "$moddir/parse-rootlun.sh"
    if ! dracut_module_included systemd; then
        inst_hook initqueue 10 "$moddir/attach-rootlun.sh"
        inst_hook pre-pivot 10 "$moddir/handoff-rootlun.sh"
        return
    fi
    inst_hook emergency 90 "$moddir/emergency-rootlun.sh"
    inst_multiple "$systemdsystemunitdir"/rootlun-{attach,handoff}.service
    ln_r "$(find_binary rootlun)" "$systemdutildir/system-generators/rootlun-generator"
}
