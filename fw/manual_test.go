package fw

import (
	"compress/gzip"
	"fmt"
	"github.com/rootlun/rootlun/qemu-tests/cache"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDracutManual walks dracut.cmdline(7), as Debian's package has it, and
// reads every form there of iSCSI and the network: each optional piece with and
// without, each alternative, and the examples. A form that is not accepted
// fails, and so does one that this test does not know: a new manual is to be
// read by a person first.
//
// ROOTLUN_DRACUT_MANUAL names another version's page.
func TestDracutManual(t *testing.T) {
	seen := make(map[string]int)
	ours := false // in one of the two sections
	for _, line := range manualLines(t) {
		if section, ok := strings.CutPrefix(line, ".SS "); ok {
			section = strings.Trim(section, `"`)
			ours = section == "Network" || section == "iSCSI"
			continue
		}
		words := manualWords(t, line, ours, seen)
		if len(words) == 0 {
			continue
		}
		for _, v6 := range []bool{false, true} {
			checkManualLine(t, words, v6)
		}
	}
	for _, name := range strings.Fields("root netroot ip ifname bootdev BOOTIF rd.bootif nameserver rd.peerdns rd.neednet rd.route vlan bond team bridge " +
		"rd.iscsi.initiator rd.iscsi.target.name rd.iscsi.target.ip rd.iscsi.target.port rd.iscsi.target.group rd.iscsi.username rd.iscsi.password " +
		"rd.iscsi.in.username rd.iscsi.in.password rd.iscsi.firmware rd.iscsi.login_retry_max rd.iscsi.param rd.iscsi.ibft rd.iscsi.mp rd.iscsi.waitnet " +
		"rd.iscsi.testroute rd.net.dhcp.retry rd.net.timeout.dhcp rd.net.timeout.iflink rd.net.timeout.ifup rd.net.timeout.route rd.net.timeout.ipv6dad " +
		"rd.net.timeout.ipv6auto rd.net.timeout.carrier iscsi_initiator iscsi_target_name iscsi_firmware") {
		if seen[name] == 0 {
			t.Errorf("%s was not found in the manual: does this test still read it?", name)
		}
	}
	if seen["ip"] < 4 || seen["netroot"] < 5 || seen["rd.route"] < 5 {
		t.Errorf("too few forms found: %v", seen)
	}
}

// checkManualLine reads a line's words, with all their optional pieces in all
// ways, on a machine that has else what a boot needs.
func checkManualLine(t *testing.T, words []string, v6 bool) {
	var fixed []string // words that are what they are
	var forms [][]variant
	for _, w := range words {
		name, _, _ := strings.Cut(w, "=")
		if !strings.ContainsAny(w, "<{") {
			fixed = append(fixed, w)
			continue
		}
		form := &manualForm{text: w, name: name, v6: v6}
		variants := form.sequence()
		if form.err != nil || form.text != "" {
			t.Errorf("%s: %v (%q is left): teach this test the form, and the parser", w, form.err, form.text)
			return
		}
		forms = append(forms, variants)
	}
	for lines := (combinations{forms: forms}); lines.next(); {
		all := append(slices.Clone(fixed), lines.words()...)
		line := strings.Join(all, " ")
		refused := strings.Contains(line, "team=") || strings.Contains(line, "bridge=")
		if !strings.Contains(line, "=iscsi:") && !strings.Contains(line, "rd.iscsi.target.name=") {
			line = "netroot=iscsi:192.168.50.1::::iqn.2009-06.dracut:target0 " + line
		} else if lines.without("<servername>") {
			line += " rd.iscsi.target.ip=192.168.50.1"
		}
		if !strings.Contains(line, "initiator=") {
			line += " rd.iscsi.initiator=iqn.2009-06.dracut:host"
		}
		p, err := read(line)
		switch {
		case refused && (err == nil || !strings.Contains(err.Error(), "is not supported")):
			t.Errorf("%s: got %v, and it is not supported", line, err)
			return
		case !refused && err != nil:
			t.Errorf("%s\n\tfrom the manual's %s: %v", line, strings.Join(words, " "), err)
			return
		case !refused && len(p.Targets) == 0:
			t.Errorf("%s: no target", line)
		}
	}
}

// manualWords returns the words of a line that are parameters here, and counts
// them. In our own sections a parameter that nobody knows is a mistake.
func manualWords(t *testing.T, line string, ours bool, seen map[string]int) (words []string) {
	parameter := regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*=`)
	bare := regexp.MustCompile(`^(rd\.(iscsi|net|bootif|peerdns|neednet|route)|iscsi_)[a-z0-9_.-]*$`)
	table := parameters()
	for _, w := range splitManual(line) {
		w = strings.Trim(w, `"'(),;`)
		if !strings.Contains(w, "]") {
			w = strings.TrimPrefix(w, "[")
		}
		if !strings.ContainsAny(w, "<{") {
			w = strings.TrimRight(w, `.,:;"')`)
		}
		name, value, given := strings.Cut(w, "=")
		known, _ := lookup(table, name)
		switch {
		case bare.MatchString(w): // a name without a value, in a sentence
			if known == nil {
				t.Errorf("%s: there is no such parameter here", w)
			} else if boolean := slices.Contains([]string{"rd.iscsi.firmware", "iscsi_firmware", "rd.iscsi.ibft", "rd.iscsi.mp"}, name); ours && boolean {
				words = append(words, w)
			}
			seen[name]++
		case !parameter.MatchString(w) || !given || value == "":
		case name == "root" || name == "netroot":
			if kind, _, _ := strings.Cut(value, ":"); kind == "iscsi" || strings.HasPrefix(strings.Trim(kind, "{"), "dhcp") {
				words = append(words, w)
			}
		case known != nil && (ours || bare.MatchString(name)):
			words = append(words, w)
		case ours && known == nil && name != "biosdevname" && !strings.HasPrefix(name, "node."): // udev's, and values of rd.iscsi.param
			t.Errorf("%s: a new parameter of the manual: teach it to this test, and to the parser", w)
		}
	}
	for _, w := range words {
		name, _, _ := strings.Cut(w, "=")
		seen[name]++
	}
	return words
}

// splitManual splits a line at blanks, but not within <a placeholder>.
func splitManual(line string) []string {
	inside := false
	return strings.FieldsFunc(line, func(r rune) bool {
		if r == '<' || r == '>' {
			inside = r == '<'
		}
		return r == ' ' && !inside
	})
}

// manualForm is a form of the manual while it is taken apart: [optional],
// {one|of|them}, <placeholder>, and what stands there itself.
type manualForm struct {
	text string
	name string // the parameter's
	v6   bool

	passwords int // that were found
	err       error
}

// variant is a form with its placeholders filled.
type variant struct {
	text string
	used []string // the placeholders
}

func (f *manualForm) sequence() []variant {
	all := []variant{{}}
	add := func(more []variant) {
		var next []variant
		for _, a := range all {
			for _, b := range more {
				next = append(next, variant{a.text + b.text, append(slices.Clone(a.used), b.used...)})
			}
		}
		all = next
	}
	for f.text != "" && f.err == nil {
		ch := f.text[0]
		switch ch {
		case ']':
			return all
		case '[':
			f.text = f.text[1:]
			inner := f.sequence()
			f.text = strings.TrimPrefix(f.text, "]")
			add(append(inner, variant{}))
		case '{':
			words, rest, _ := strings.Cut(f.text[1:], "}")
			f.text = rest
			var inner []variant
			for w := range strings.SplitSeq(words, "|") {
				inner = append(inner, variant{text: w})
			}
			add(inner)
		case '<':
			name, rest, _ := strings.Cut(f.text[1:], ">")
			f.text = rest
			if name == "password" { // a form may have two, for the two directions
				f.passwords++
			}
			value, ok := fill(f.name, name, f.v6)
			if f.passwords > 1 && name == "password" {
				value += "-in"
			}
			if !ok {
				f.err = fmt.Errorf("the placeholder <%s> is new", name)
			}
			add([]variant{{value, []string{"<" + name + ">"}}})
		default:
			add([]variant{{text: string(ch)}})
			f.text = f.text[1:]
		}
	}
	return all
}

// fill returns what a person would write for a placeholder.
func fill(parameter, name string, v6 bool) (string, bool) {
	values := map[string][2]string{ // for IPv4 and for IPv6
		"client-IP":        {"192.168.50.2", "[2001:DB8::2]"},
		"peer":             {"192.168.50.9", "[2001:DB8::9]"},
		"gateway-IP":       {"192.168.50.254", "[2001:DB8::1]"},
		"netmask":          {"255.255.255.0", "64"},
		"dns1":             {"192.168.50.3", "[2001:DB8::3]"},
		"dns2":             {"192.168.50.4", "[2001:DB8::4]"},
		"IP":               {"192.168.50.3", "2001:DB8::3"},
		"servername":       {"192.168.50.1", "[2001:DB8::1]"},
		"target ip":        {"192.168.50.1", "2001:DB8::1"},
		"gateway":          {"192.168.50.254", "[2001:DB8::1]"},
		"net":              {"192.168.200.0", "[2001:DB8:3::"},
		"rd.route=netmask": {"255.255.255.0", "32]"},
	}
	if v, ok := values[parameter+"="+name]; ok {
		return v[btoi(v6)], true
	}
	if v, ok := values[name]; ok {
		return v[btoi(v6)], true
	}
	v, ok := map[string]string{
		"client_hostname": "host", "interface": "ens10", "mtu": "9000", "macaddr": "52:54:00:12:34:56", "MAC": "52:54:00:12:34:56",
		"vlanname": "vlan0005", "phydevice": "ens10", "bondname": "bond1", "bondslaves": "ens10,ens11", "options": "mode=802.3ad,miimon=100",
		"teammaster": "team0", "teamslaves": "ens10,ens11", "teamrunner": "lacp", "bridgename": "br0", "ethnames": "ens10",
		"username": "user", "password": "secret-of-" + parameter, "reverse": "target", "protocol": "6", "port": "3260", "iscsi_iface_name": "default",
		"netdev_name": "ens10", "LUN": "1", "targetname": "iqn.2009-06.dracut:target0",
		"initiator": "iqn.2009-06.dracut:host", "target name": "iqn.2009-06.dracut:target0", "target port": "3260", "target group": "1",
		"in username": "target", "in password": "secret-of-target",
		"num": "5", "cnt": "3", "arg": "30", "seconds": "30", "param": "node.session.timeo.replacement_timeout=30", "transport_name": "bnx2i",
	}[name]
	return v, ok
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// combinations goes through every choice of one variant a form.
type combinations struct {
	forms  [][]variant
	chosen []int
}

func (c *combinations) next() bool {
	if c.chosen == nil {
		c.chosen = make([]int, len(c.forms))
		return true
	}
	for i := range c.chosen {
		if c.chosen[i]++; c.chosen[i] < len(c.forms[i]) {
			return true
		}
		c.chosen[i] = 0
	}
	return false
}

func (c *combinations) words() (words []string) {
	for i, n := range c.chosen {
		words = append(words, c.forms[i][n].text)
	}
	return words
}

// without reports whether a form has a placeholder that is left out in this choice.
func (c *combinations) without(placeholder string) bool {
	for i, n := range c.chosen {
		has := func(v variant) bool { return slices.Contains(v.used, placeholder) }
		if slices.ContainsFunc(c.forms[i], has) && !has(c.forms[i][n]) {
			return true
		}
	}
	return false
}

// manualLines returns the page without roff's escapes.
func manualLines(t *testing.T) []string {
	name := os.Getenv("ROOTLUN_DRACUT_MANUAL")
	if name == "" {
		name = cache.Path(t, "dracut-core", "usr", "share", "man", "man7", "dracut.cmdline.7.gz")
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	font := regexp.MustCompile(`\\f(\[[A-Z]*\]|[A-Z])`)
	plain := strings.NewReplacer(`\-`, "-", `\&`, "", `\(cq`, "'", `\ `, " ", `\|`, "", `\e`, `\`)
	return strings.Split(plain.Replace(font.ReplaceAllString(string(text), "")), "\n")
}
