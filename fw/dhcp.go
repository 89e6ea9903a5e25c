package fw

// Lease is what a DHCP server says of the target and of us. Empty strings are
// options that it does not give.
type Lease struct {
	RootPath      string // option 17, RFC 4173's grammar
	InitiatorName string // option 203
	Hostname      string // option 12
	BootFileURL   string // DHCPv6, option 59 (RFC 5970)
	From          string // which server, for people: "DHCP (192.168.50.1)"
}
