package fw

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rootlun/rootlun/fw/stable"
)

// Lease is what a DHCP server says of the target and of us. Empty strings are
// options that it does not give.
type Lease struct {
	RootPath      string // option 17, RFC 4173's grammar
	InitiatorName string // option 203
	Hostname      string // option 12
	BootFileURL   string // DHCPv6, option 59 (RFC 5970)
	From          string // which server, for people: "DHCP (192.168.50.1)"
}

const rootPathForm = "iscsi:SERVER:[6]:[PORT]:[LUN]:TARGETNAME with an IPv6 SERVER in [brackets], such as iscsi:192.168.50.1::::iqn.2009-06.com.example:disk"

// Lease adds to the plan what a DHCP server has said on one of its NICs (an
// index into NICs; -1: one that is not in the plan): a target when AskDHCP
// wants one, the initiator name and the host name when no source that goes
// before DHCP has one. A second lease, of another NIC or the same, adds what
// it has of its own.
//
// It returns every mistake at once (errors.Join of *Error), also that a lease
// names no target where one is wanted; what was understood is in the plan all
// the same.
func (p *Plan) Lease(nic int, l Lease) error {
	if nic >= len(p.NICs) {
		nic = -1
	}
	r := report{place: l.From}
	if p.AskDHCP != "" {
		p.leaseTarget(&r, max(nic, -1), l)
	}
	if name := trim(l.InitiatorName); name != "" && p.Initiator.yields() {
		if err := r.checkName(name); err != nil {
			r.fail(mistake(l.From, name, "option 203: iqn.2009-06.com.example:host", err))
		} else {
			p.named(Initiator{name, l.From})
		}
	}
	if p.Initiator.Name == "" {
		r.fail(noInitiator(l.From))
	}
	if name := trim(l.Hostname); name != "" && nic >= 0 && p.NICs[nic].Hostname == "" {
		if err := checkHostname(name); err != nil {
			r.warn(l.From, ": host name ", quote(name), ": ", err.Error(), "; left out")
		} else {
			p.NICs[nic].Hostname = name
		}
	}
	for _, w := range r.warnings {
		if !slices.Contains(p.Warnings, w) {
			p.warn(w)
		}
	}
	return errors.Join(r.errs...)
}

// leaseTarget adds the target of a lease.
func (p *Plan) leaseTarget(r *report, nic int, l Lease) {
	named := false
	for _, option := range [...]struct{ name, value string }{
		{"root-path", l.RootPath}, {"boot file URL", l.BootFileURL},
	} {
		value := trim(option.value)
		if value == "" {
			continue
		}
		kind, rest, _ := strings.Cut(value, ":")
		if !strings.EqualFold(kind, "iscsi") {
			r.warn(l.From, ": its ", option.name, " ", quote(hideNetroot(value)), " is not of iSCSI, and is passed over")
			continue
		}
		named = true
		var t portal
		err := r.parseTarget(rest, option.name, &t)
		if err == nil && t.Host == "" {
			err = errNoServer
		}
		if err != nil {
			r.fail(mistake(l.From, "iscsi:"+hideTarget(rest), rootPathForm, err))
			continue
		}
		t.From, t.NIC = l.From, nic
		if i := indexNIC(p.NICs, func(n *NIC) bool { return n.Name == t.netdev }); t.netdev != "" && i >= 0 {
			t.NIC = i
		}
		if t.CHAP != nil {
			t.CHAP.From = l.From
		}
		if err := p.add(&t.Target, false); err != nil {
			r.fail(err)
		}
	}
	if !named {
		r.fail(mistake(l.From, "", rootPathForm, fmt.Errorf("%s asks DHCP for the target, and this server names none: it has no root-path (option 17) of iSCSI for this machine", p.AskDHCP)))
	}
}

// trim takes away what servers put around a string: blanks, a NUL at its end,
// and quotes from a configuration file.
func trim(s string) string {
	s = strings.Trim(s, " \t\r\n\x00")
	if n := len(s); n >= 2 && s[0] == s[n-1] && (s[0] == '"' || s[0] == '\'') {
		s = s[1 : n-1]
	}
	return s
}

// keptLeases takes what klibc's ipconfig, the DHCP client of initramfs-tools,
// has left of its leases in /run/net-NAME.conf.
func (p *Plan) keptLeases(m machine) error {
	dir, _ := stable.ReadDir(m.fsys, "run") // it is not there before a client has run
	var errs []error
	for _, e := range dir {
		if !strings.HasPrefix(e.Name(), "net-") || !strings.HasSuffix(e.Name(), ".conf") {
			continue
		}
		name := "run/" + e.Name()
		text, err := readSmall(m.fsys, name, 64<<10)
		if err != nil {
			errs = append(errs, mistake("/"+name, "", "", err))
			continue
		}
		values := shellValues(string(text))
		if values["ROOTPATH"] == "" {
			continue // it may be static, or another NIC's
		}
		device := values["DEVICE"]
		mac := m.mac(device)
		nic := indexNIC(p.NICs, func(n *NIC) bool { return n.Name == device || mac != "" && n.MAC == mac })
		if nic < 0 && len(p.NICs) == 1 && p.NICs[0].Name == "" && p.NICs[0].MAC == "" {
			nic = 0
		}
		if err := p.Lease(nic, Lease{RootPath: values["ROOTPATH"], Hostname: values["HOSTNAME"], From: "/" + name}); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// shellValues reads lines of NAME='VALUE', as klibc writes them: a quote or a
// '!' within stands behind a '\' between two quotes.
func shellValues(text string) map[string]string {
	values := make(map[string]string)
	for _, line := range strings.Split(text, "\n") {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
			value = strings.ReplaceAll(strings.ReplaceAll(value[1:len(value)-1], `'\''`, "'"), `'\!'`, "!")
		}
		values[name] = value
	}
	return values
}
