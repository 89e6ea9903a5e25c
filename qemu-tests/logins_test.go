package qemutests

import (
	"fmt"
	"strings"
	"testing"

	"github.com/rootlun/rootlun/initramfs"
)

// TestEveryLogin logs in to tgt and to LIO, each in every way that it knows, from
// one machine, which has all the sessions at its end.
func TestEveryLogin(t *testing.T) {
	s := newScene(t)
	first, firstSum := s.disk("first")
	second, secondSum := s.disk("second")
	serve := func(kind string) []Target {
		name := targetName + "." + kind
		one := Target{Username: "initiator-user", Secret: "secret-of-initiator"}
		both := Target{Username: "node", Secret: "secret-of-node", UsernameIn: "target-user", SecretIn: "secret-of-target"}
		var all []Target
		for what, t := range map[string]Target{
			"open": {Units: map[int]string{2: second}}, "chap": one, "mutual": both, "digest": {Digest: "CRC32C"},
		} {
			t.Name, t.Image, t.LUN = name+"."+what, first, 1
			if kind == "lio" && what == "open" {
				t.Units[16385] = second
			}
			all = append(all, t)
		}
		return all
	}
	tgt, lio := serve("tgt"), serve("lio")
	port := map[string]uint16{"tgt": s.tgts(tgt...), "lio": s.lios(lio...)}
	var files []initramfs.File
	for _, t := range tgt {
		if t.Secret != "" {
			files = append(files, s.credentials(t))
		}
	}

	var list []attempt
	type wanted struct {
		shows, digests, sum string
	}
	want := map[string]wanted{}
	add := func(kind, what, name string, lun int, options string, w wanted) {
		name = kind + "-" + what + name
		list = append(list, attempt{name, fmt.Sprintf("%s:%d", HostAddress, port[kind]), targetName + "." + kind + "." + what, lun, options})
		want[name] = w
	}
	const chap, mutual, none = "--credentials /credentials", "--credentials /credentials-mutual", "no authentication"
	algorithm := func(a string) string { return " --param node.session.auth.chap_algs=" + a }
	for kind, algorithms := range map[string][]string{"tgt": {"MD5"}, "lio": {"MD5", "SHA1", "SHA256", "SHA3-256"}} {
		add(kind, "open", "", 1, "", wanted{none, "0 0", firstSum})
		add(kind, "open", "-2", 2, "", wanted{none, "0 0", secondSum})
		flat := firstSum // tgt takes the address 0x4001 for that of LUN 1
		if kind == "lio" {
			flat = secondSum
		}
		add(kind, "open", "-16385", 16385, "", wanted{none, "0 0", flat})
		add(kind, "digest", "", 1, "", wanted{none, "1 1", firstSum})
		add(kind, "digest", "-preferred", 1, "--param node.conn[0].iscsi.HeaderDigest=CRC32C,None --param node.conn[0].iscsi.DataDigest=CRC32C", wanted{none, "1 1", firstSum})
		add(kind, "open", "-no-digest", 1, "--param node.conn[0].iscsi.HeaderDigest=None --param node.conn[0].iscsi.DataDigest=None", wanted{none, "0 0", firstSum})
		for _, a := range algorithms {
			says := strings.Replace(a, "SHA256", "SHA-256", 1) + "\n"
			add(kind, "chap", "-"+a, 1, chap+algorithm(a), wanted{", CHAP, " + says, "0 0", firstSum})
			add(kind, "mutual", "-"+a, 1, mutual+algorithm(a), wanted{", mutual CHAP, " + says, "0 0", firstSum})
		}
	}
	add("tgt", "chap", "", 1, chap, wanted{"once more with MD5 alone", "0 0", firstSum})
	add("lio", "mutual", "", 1, mutual, wanted{", mutual CHAP, SHA3-256\n", "0 0", firstSum})
	if hasIPv6() {
		add("tgt", "open", "-IPv6", 1, "", wanted{none, "0 0", firstSum})
		list[len(list)-1].portal = fmt.Sprintf("[fec0::2]:%d", port["tgt"])
	}

	said := s.attempts(list, files...)
	for _, a := range list {
		w, got := want[a.name], said[a.name]
		for _, text := range []string{"code: 0\n", w.shows, "\ntarget: " + a.target + "\n", "\ndigests: " + w.digests + "\n", "\n" + w.sum} {
			if !strings.Contains(got, text) {
				t.Errorf("%s does not show %q:\n%s", a.name, text, got)
			}
		}
	}
	_, there, _ := strings.Cut(said[list[len(list)-1].name], "\nthere:")
	there, _, _ = strings.Cut(there, "\n")
	if n := strings.Count(there, " session"); n != len(list) {
		t.Errorf("%d sessions, want %d", n, len(list))
	}
}
