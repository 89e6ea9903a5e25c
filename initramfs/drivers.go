package initramfs

import "strings"

// standardModules names the modules that every image gets, as far as the
// kernel has them as modules. What they depend on comes along.
func standardModules() []string {
	return strings.Fields(`
		iscsi_tcp iscsi_ibft sd_mod af_packet ipv6
		crc32c crc32c_generic crc32c_intel libcrc32c
		ext4 xfs btrfs
		8021q bonding

		virtio_pci virtio_mmio virtio_net
		vmxnet3 hv_netvsc xen_netfront ena gve mana

		e1000 e1000e igb igbvf igc ixgbe ixgbevf i40e iavf ice idpf fm10k e100
		tg3 bnx2 bnx2x bnxt_en
		mlx4_core mlx4_en mlx5_core
		r8169 8139too 8139cp
		atlantic alx atl1 atl1c atl1e atl2
		qede qlcnic netxen_nic be2net enic ionic cxgb4 cxgb4vf cxgb3
		sfc sfc_siena sfc_falcon nfp hinic fbnic
		skge sky2 forcedeth pcnet32 via_rhine via_velocity sis190 jme tulip 3c59x ne2k_pci
		amd_xgbe macb macb_pci dwmac_intel mvneta mvpp2 genet bcmgenet
		hns3 hclge hclgevf nicpf nicvf xgene_enet fec fsl_dpaa2_eth

		realtek broadcom
		xhci_pci xhci_plat_hcd ehci_pci ohci_pci uhci_hcd
		r8152 ax88179_178a aqc111 asix cdc_ether cdc_ncm
		smsc75xx smsc95xx lan78xx rndis_host`)
}

// forGuests says whether the kernel is one for cloud guests only: it drives
// Hyper-V's NIC and none of the most common physical ones.
func (k *kernel) forGuests() bool {
	return k.has("hv_netvsc") && !k.has("e1000e") && !k.has("igb") && !k.has("tg3")
}

// needlessInGuests names the standard modules that such a kernel's image does
// without, a quarter of its size: drivers of virtual functions that stand beside
// a synthetic NIC with the same address, and bonds of physical links.
func needlessInGuests() []string {
	return []string{"mlx4_core", "mlx4_en", "mlx5_core", "mana", "bonding"}
}

// unansweredRequests lists, by module, what the kernel's code asks user space
// for at run time (request_module) where no dependency says so. In the image
// no program answers such requests; the index names them as soft dependencies.
func unansweredRequests() map[string][]softdep {
	return map[string][]softdep{
		// drivers/scsi/iscsi_tcp.c, iscsi_sw_tcp_conn_create (until 6.15)
		"iscsi_tcp": {{"crypto-crc32c", false}},
		// drivers/net/ethernet/mellanox/mlx4/main.c, mlx4_request_modules
		"mlx4_core": {{"mlx4_en", true}},
		// drivers/net/phy/phy_device.c, phy_device_create
		"tg3": {{"broadcom", false}},
	}
}
