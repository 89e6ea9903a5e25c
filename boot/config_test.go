package boot

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/rootlun/rootlun/boot/network"
	"github.com/rootlun/rootlun/fw"
)

// TestAskTarget: of NICs that are up, the first whose lease names a target
// ends the search; with none the error has what each server lacks.
func TestAskTarget(t *testing.T) {
	const rootPath = "iscsi:192.0.2.1::::iqn.2026-01.net.example:disk"
	lease := func(server, rootPath, initiator string) *network.Lease {
		return &network.Lease{Server: netip.MustParseAddr(server), RootPath: rootPath, InitiatorName: initiator}
	}
	for _, tt := range []struct {
		name   string
		leases []*network.Lease
		nic    int // of the target; -1: there is none
		says   string
	}{
		{"the first", []*network.Lease{lease("192.0.2.8", rootPath, "iqn.2026-01.net.example:me"), lease("192.0.2.9", "", "")}, 0,
			"plan: initiator iqn.2026-01.net.example:me, from DHCP (192.0.2.8)"},
		{"the second", []*network.Lease{lease("192.0.2.8", "", ""), lease("192.0.2.9", rootPath, "")}, 1,
			"plan: target iqn.2026-01.net.example:disk at 192.0.2.1:3260, LUN 0, no authentication, from DHCP (192.0.2.9)"},
		{"none", []*network.Lease{lease("192.0.2.8", "", ""), lease("192.0.2.9", "/nfs", "")}, -1, `warning: DHCP (192.0.2.9): its root-path "/nfs" is not of iSCSI`},
		{"an address that was there", []*network.Lease{lease("192.0.2.8", "", ""), nil}, -1, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var console strings.Builder
			plan := &fw.Plan{AskDHCP: "root=dhcp", Initiator: fw.Initiator{Name: "iqn.2026-01.net.example:made", From: "the machine's UUID"}}
			n := nicSet{console: NewConsole(&console, time.Now()), plan: plan, up: map[int]*network.Result{}, leases: map[int]error{}}
			for i, l := range tt.leases {
				plan.NICs = append(plan.NICs, fw.NIC{DHCP: true})
				n.up[i] = &network.Result{Name: "eth" + string(rune('0'+i)), Lease: l}
			}
			for i := range n.up {
				if i <= tt.nic || tt.nic < 0 {
					n.leases[i] = n.takeLease(i, n.up[i])
				}
			}
			err := n.askTarget(context.Background(), time.Minute)
			if !strings.Contains(console.String(), tt.says) {
				t.Errorf("the console does not say %q:\n%s", tt.says, &console)
			}
			if tt.nic >= 0 {
				if err != nil || len(plan.Targets) != 1 || plan.Targets[0].NIC != tt.nic {
					t.Errorf("%v, targets %+v", err, plan.Targets)
				}
				return
			}
			var step *StepError
			if !errors.As(err, &step) || !step.Final || !strings.Contains(err.Error(), "DHCP (192.0.2.8): root=dhcp asks DHCP for the target, and this server names none") ||
				!strings.Contains(err.Error(), "192.0.2.9") && !strings.Contains(err.Error(), "eth1 has its address without asking DHCP") {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNICFrom(t *testing.T) {
	for want, n := range map[string]fw.NIC{
		"iBFT (ACPI)":                     {From: "iBFT (ACPI)", AddressFrom: "iBFT (ACPI)"},
		"iBFT (ACPI), addresses from ip=": {From: "iBFT (ACPI)", AddressFrom: "ip="},
	} {
		if got := nicFrom(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
