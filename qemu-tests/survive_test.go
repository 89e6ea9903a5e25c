package qemutests

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rootlun/rootlun/initramfs"
)

// survivor is a system whose root's session is broken while it writes to its root.
type survivor struct {
	*scene
	*Running
	far    *Far
	target Target
	tgt    *TGT
	cable  *Cable
}

// The faults that the root has to survive.
var faults = Faults()

// What is survived besides: once iscsid keeps the session, and at the end.
const (
	restarted = "iscsid is restarted"
	killed    = "iscsid is killed, and the target is gone for 5 s"
	upgraded  = "open-iscsi is upgraded while the target is gone"
)

// Commands of open-iscsi's by which an administrator may end the root's session.
var commands = []string{"iscsiadm -m node --logoutall=all", "iscsiadm -m node --loginall=all", "iscsiadm -m session -P 3", "systemctl restart open-iscsi"}

// loggedOut is how an administrator does end it: asked by name open-iscsi logs out
// of any session, and nobody else is to log in to it again.
const loggedOut = "iscsiadm -m session --logout"

// ended is the row of the table of docs/survival.md for an end.
func ended(how string) string { return "the target is gone for 10 s during systemctl " + how }

// trials returns what is survived, in its order.
func trials() (list []string) {
	for _, f := range faults {
		list = append(list, f.Name)
	}
	list = append(list, restarted, killed, upgraded)
	for _, c := range commands {
		list = append(list, "`"+c+"`")
	}
	list = append(list, "`"+loggedOut+"`")
	return append(list, ended("reboot"), ended("poweroff"), ended("kexec"))
}

// without is the target's absence.
func (v *survivor) without(d time.Duration) {
	v.t.Helper()
	if err := v.tgt.Restart(v.ctx, d); err != nil {
		v.t.Fatal(err)
	}
}

// patience is how long a command in the system may take. What waits for the root's
// disk waits for an attempt to log in, and may have to wait for SCSI's error
// handling before; and dpkg needs minutes where many machines run.
const patience = 8 * time.Minute

// code runs a command in the system.
func (v *survivor) code(command string) (out string, code int) {
	v.t.Helper()
	out, code, err := v.Agent.Run(time.Now().Add(patience), command)
	if err != nil {
		v.t.Fatalf("%v; the last lines of the console:\n%s", err, tail(v.Console.String(), 40))
	}
	return out, code
}

// do runs a command in the system that has to succeed.
func (v *survivor) do(command string) string {
	v.t.Helper()
	out, code := v.code(command)
	if code != 0 {
		v.t.Fatalf("%s: exit code %d: %s", command, code, out)
	}
	return strings.TrimSuffix(out, "\n")
}

// survives asserts that the root is as it was: it is written to, by one session.
func (v *survivor) survives(what string) {
	v.t.Helper()
	began := time.Now()
	v.do("goes_on")
	v.t.Logf("%s: written to after %v", what, time.Since(began).Round(time.Millisecond))
	if state := v.do("cat /sys/class/iscsi_session/*/state"); state != "LOGGED_IN" {
		v.t.Errorf("%s: the sessions are %q", what, state)
	}
}

// suffer makes faults one after the other.
func (v *survivor) suffer(keeper string, faults []Fault, results *survival) {
	v.t.Helper()
	for _, f := range faults {
		if err := f.Make(v.ctx, Path{v.Running, v.cable, v.tgt}); err != nil {
			v.t.Fatal(err)
		}
		v.survives(f.Name)
		results.add(f.Name, keeper)
	}
}

// unharmed asserts that nothing of what was written is lost, and that neither the
// kernel nor the file system saw an error.
func (v *survivor) unharmed() {
	v.t.Helper()
	if out := v.do("rootlun-load check"); !strings.HasSuffix(out, " failed 0 bad 0") {
		v.t.Errorf("the load: %s", out)
	}
	if out, code := v.code("dmesg | grep -E 'I/O error|EXT4-fs (error|warning)|emounting filesystem|segfault|ut of memory'"); code == 0 {
		v.t.Error(out)
	}
	if mount := v.do("grep ' / ' /proc/mounts | tail -n 1"); !strings.Contains(mount, " rw,") {
		v.t.Errorf("the root: %s", mount)
	}
}

// connection is the root's, as both ends name it.
func (v *survivor) connection() string {
	v.t.Helper()
	return v.do("ss -tnH 'dport = 3260' | awk '{print $4, $5}'")
}

// anotherThan waits until the root has another connection, logged in.
func (v *survivor) anotherThan(connection string) {
	v.t.Helper()
	v.do(`until now=$(ss -tnH state established 'dport = 3260' | awk '{print $3, $4}'); [ -n "$now" ] && [ "$now" != "` + connection +
		`" ] && [ "$(cat /sys/class/iscsi_session/*/state)" = LOGGED_IN ]; do sleep 0.2; done`)
}

// over waits for the machine's own end, and asserts that the file system is then
// as it is after an orderly one.
func (v *survivor) over() {
	v.t.Helper()
	if err := v.Wait(); err != nil {
		v.t.Fatalf("%v; the last lines of the console:\n%s", err, tail(v.Console.String(), 40))
	}
	if out, err := exec.CommandContext(v.ctx, "e2fsck", "-fn", v.target.Image).CombinedOutput(); err != nil {
		v.t.Errorf("e2fsck: %v\n%s", err, out)
	}
}

// TestSurvival breaks the root's session of whole systems, before and after their
// own iscsid has taken it over, and of such that have none. What takes its time is
// to wait, so each of these is a machine of its own.
func TestSurvival(t *testing.T) {
	wholeSystems(t)
	rows := []struct {
		system  string
		network string
		suffers string // all faults: early, before most services, or late, in the whole system
		end     string
	}{
		{"debian12-open-iscsi", "IPv4", "early", "reboot"},
		{"debian12-open-iscsi", "IPv4", "late", "kexec"},
		{"debian12-open-iscsi", "IPv6", "early", "poweroff"},
		{"debian12-open-iscsi", "IPv6", "late", loggedOut},
		{"debian13-open-iscsi", "VLAN", "early", "poweroff"},
		{"debian13-open-iscsi", "VLAN", "late", "reboot"},
		{"debian12-networkd", "IPv4", "early", "poweroff"},
		{"debian13-networkd", "IPv6", "early", "reboot"},
		{"busybox", "IPv4", "early", ""},
	}
	results := &survival{}
	booting := make(chan struct{}, 2) // as systemd gives up what takes long
	boots := func(f func()) {
		booting <- struct{}{}
		defer func() { <-booting }()
		f()
	}
	var done atomic.Int32
	t.Run("systems", func(t *testing.T) { // returns when all have ended
		for _, row := range rows {
			t.Run(row.system+"/"+row.network+"/"+row.suffers, func(t *testing.T) {
				v := &survivor{scene: newSystem(t)}
				defer done.Add(1)
				boots(func() {
					v.boot(row.system, row.network)
					v.do("rootlun-load run >/dev/null 2>&1 & until [ -s /run/load/count ]; do sleep 0.1; done")
				})
				before, after := noISCSID, noISCSID
				own := strings.HasSuffix(row.system, "open-iscsi")
				if own {
					before, after = besideISCSID, iscsid
				}
				early, late := faults, faults[:1]
				if row.suffers == "late" {
					early, late = late, early
				}
				v.suffer(before, early, results)
				if row.system == "busybox" {
					v.unharmed()
					v.do("mount -o remount,ro /; poweroff -f &")
					v.over()
					return
				}
				first := v.connection()
				boots(func() {
					v.do("echo >/run/gate")
					if state, _ := v.code("systemctl is-system-running --wait"); strings.TrimSpace(state) != "running" {
						t.Errorf("the system is %s%s", state, v.do("systemctl --failed --no-legend --plain"))
					}
				})
				if own {
					v.anotherThan(first)
					v.safe("after the takeover")
				}
				v.suffer(after, late, results)
				if own && row.suffers == "late" {
					v.taken(results)
				}
				v.unharmed()
				if row.end == loggedOut {
					v.loses(results)
				} else {
					v.ends(row.end, before, results)
				}
			})
		}
	})
	if !t.Failed() && int(done.Load()) == len(rows) { // else -run chose some
		results.compare(t)
	}
}

// boot boots a system to its gate, before most of its services.
func (v *survivor) boot(system, network string) {
	v.t.Helper()
	s := v.scene
	s.extend(20 * time.Minute)
	v.far = s.far([]string{"10.7.0.1/24", "fe80::1/64", "fd07::1/64"})
	v.target = Target{Name: targetName, LUN: 1,
		Username: "node", Secret: "correct-horse-1", UsernameIn: "target", SecretIn: "battery-staple-2"}
	if system == "busybox" {
		v.target.Image = s.root(initramfs.File{Source: "system/rootlun-agent", Destination: "/sbin/rootlun-agent"},
			initramfs.File{Source: "system/rootlun-load", Destination: "/sbin/rootlun-load"})
	} else {
		v.target.Image = s.system(system)
	}
	if strings.HasSuffix(system, "open-iscsi") { // and with kexec
		for name, file := range map[string]string{"/root/vmlinuz": s.Kernel, "/root/initrd": s.image} {
			data, err := os.ReadFile(file)
			if err != nil {
				v.t.Fatal(err)
			}
			s.put(v.target.Image, name, data, "0100644")
		}
	}
	v.tgt = s.farTGT(v.far, v.target)
	portal, parameters := "10.7.0.1", []string{"ip=dhcp"}
	v.cable = s.cable(v.far.Segments[0], nil)
	switch network {
	case "IPv4":
		s.dnsmasq(v.far, "--interface=net0", dhcpRange)
	case "IPv6":
		s.dnsmasq(v.far, "--interface=net0", "--enable-ra", "--dhcp-range=fd07::,ra-only,64")
		portal, parameters = "[fd07::1]", []string{"ip=auto6"}
	case "VLAN":
		v.cable = s.cable(nil, map[uint16]*Segment{5: v.far.Segments[0]})
		parameters = []string{"vlan=eth0.5:eth0", "ip=10.7.0.50::10.7.0.1:24:node:eth0.5:none"}
	}
	m := s.wired(v.cable, append(parameters, "root=LABEL="+RootLabel, "rw", "systemd.show_status=1", "quiet", "rootlun.agent", "rootlun.gate",
		"rd.iscsi.initiator="+initiatorName, fmt.Sprintf("netroot=iscsi:%s:%s:%s:%s@%s:::1:%s",
			v.target.Username, v.target.Secret, v.target.UsernameIn, v.target.SecretIn, portal, targetName))...)
	if system == "busybox" {
		m.Cmdline = append(m.Cmdline, "init=/sbin/rootlun-agent")
	}
	m.Agent = true
	v.Running = s.start(m)
}

// taken does to iscsid, which keeps the session, what an administrator may.
func (v *survivor) taken(results *survival) {
	v.t.Helper()
	was := v.connection()
	v.do("systemctl restart iscsid")
	v.anotherThan(was)
	v.survives(restarted)
	results.add(restarted, iscsid)

	v.do("systemctl kill -s KILL iscsid")
	v.without(5 * time.Second)
	v.survives(killed)
	results.add(killed, iscsid)
	was = v.connection()
	v.do("systemctl start iscsid")
	v.anotherThan(was)

	v.tgt.Close()
	v.do("DEBIAN_FRONTEND=noninteractive dpkg -i /root/open-iscsi.deb >/run/dpkg.log 2>&1 & :")
	pause(10 * time.Second)
	v.tgt = v.farTGT(v.far, v.target)
	if out, code := v.code("wait $!; code=$?; cat /run/dpkg.log; (exit $code)"); code != 0 {
		v.t.Errorf("the upgrade: %s", out)
	}
	v.survives(upgraded)
	results.add(upgraded, iscsid)

	for _, command := range commands {
		out, code := v.code(command)
		v.t.Logf("%s: exit code %d\n%s", command, code, out)
		v.survives(command)
		results.add("`"+command+"`", iscsid)
	}
	v.safe("at last")
}

// loses asserts that the root is lost when iscsiadm is told so.
func (v *survivor) loses(results *survival) {
	v.t.Helper()
	if out, code := v.code("echo 1 >/proc/sys/kernel/printk; " + loggedOut); code != 0 {
		v.t.Errorf("%s: exit code %d: %s", loggedOut, code, out)
	}
	if state, code := v.code("set -- /sys/class/iscsi_session/*; [ ! -e $1 ]"); code != 0 {
		v.t.Errorf("%s: session %q is still there", loggedOut, state)
	}
	results.lost("`"+loggedOut+"`", iscsid)
}

// safe asserts that the root's session has what is its own, and the timers of a root.
func (v *survivor) safe(when string) {
	v.t.Helper()
	address := "10.7.0.1"
	if strings.Contains(v.connection(), "fd07::1") {
		address = "fd07::1"
	}
	for file, want := range map[string]string{
		"session/session*/recovery_tmo": "86400", "session/session*/initiatorname": initiatorName, "session/session*/targetname": targetName,
		"session/session*/username": v.target.Username, "session/session*/username_in": v.target.UsernameIn,
		"connection/connection*/recv_tmo": "0", "connection/connection*/ping_tmo": "0",
		"connection/connection*/persistent_address": address, "connection/connection*/persistent_port": "3260",
	} {
		if got := v.do("cat /sys/class/iscsi_" + file); got != want {
			v.t.Errorf("%s: %s is %q, want %q", when, file, got, want)
		}
	}
	if out, code := v.code("/run/rootlun/rootlun status"); code != 0 {
		v.t.Errorf("%s: rootlun status: exit code %d: %s", when, code, out)
	}
}

// ends ends the machine while the target is not there for a while, with its load.
func (v *survivor) ends(how, keeper string, results *survival) {
	v.t.Helper()
	v.do("rm /run/load.stop; rootlun-load run >/dev/null 2>&1 & :")
	if how == "kexec" {
		v.do("kexec -l /root/vmlinuz --initrd=/root/initrd --reuse-cmdline")
	}
	v.do("systemctl --no-block " + how)
	v.waitFor(v.Running, "umount.target") // iscsid has been stopped
	v.without(10 * time.Second)
	switch how {
	case "kexec":
		v.Agent.Again()
		v.do("echo >/run/gate; systemctl is-system-running --wait; systemctl --no-block poweroff")
	case "reboot":
		v.waitFor(v.Running, "reboot: Restarting system")
	}
	v.over()
	console := v.Console.String()
	if !strings.Contains(console, "session 1 is logged out") || strings.Contains(console, "is still in use") {
		v.t.Errorf("rootlun did not unmount and log out at the end:\n%s", tail(console, 40))
	}
	results.add(ended(how), keeper)
}

// pause is how long something may go on by itself.
func pause(d time.Duration) { <-time.After(d) }
