package fw

import (
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"strings"

	"github.com/rootlun/rootlun/fw/stable"
)

const cmdlinePlace = "kernel command line"

// command is what the kernel command line says, or a file in the same terms. A
// zero value says nothing.
type command struct {
	report
	asks     bool      // something asks for iSCSI, rightly written or not
	firmware choice    // rd.iscsi.firmware
	lenient  bool      // rd.rootlun.ibft=lenient
	names    Initiator // rd.iscsi.initiator
	targets  []*portal // netroot=iscsi:…, in order
	chap     CHAP      // rd.iscsi.username and its kin, for what a target does not have itself
	single   single    // rd.iscsi.target.*

	ipGiven     bool // some ip= was there, if only ip=none
	fromFW      bool // ip=ibft
	nics        []*NIC
	aliases     map[string]string // ifname=: name to MAC
	bootif      string            // BOOTIF=, as a MAC
	noBoot      bool              // rd.bootif=0
	bootdev     string            // bootdev=: an interface or a MAC
	vlans       []VLAN
	bonds       []Bond
	routes      []Route
	dns         []netip.Addr
	noPeerDNS   bool
	vendorClass string

	credentials string // rd.rootlun.credentials
	root        Root
	rootTarget  *portal // root=iscsi:…
	unknownRoot bool    // root= was not understood
	dhcpRoot    string  // the word that lets DHCP name the target: root=dhcp or =dhcp6, netroot=dhcp or =dhcp6, netroot=iscsi, root=iscsi
	params      []Param
	retries     string // rd.iscsi.login_retry_max
	timers      string // rd.rootlun.timers
	failure     Failure
	noKeep      bool
	timeouts    Timeouts

	authOptional bool // rd.rootlun.auth=optional
}

// choice is a boolean that may not be given.
type choice uint8

const (
	unset choice = iota
	off
	on
)

// word is one word of the command line.
type word struct {
	name  string
	value string
	given bool // there was a '='
}

// readCmdline reads proc/cmdline, behind what dracut has put into an initramfs,
// and Debian's file below them. What is not there says nothing.
func readCmdline(s *Sources) *command {
	c := &command{root: Root{ReadOnly: true}}
	if s.Cmdline != nil {
		c.parse(*s.Cmdline, cmdlinePlace)
	} else {
		for _, name := range append(imageFiles(s.FS), "proc/cmdline") {
			place := "/" + name
			if name == "proc/cmdline" {
				place = cmdlinePlace
			}
			text, err := readSmall(s.FS, name, 64<<10)
			c.parse(string(text), place)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				c.fail(mistake(place, "", "", err))
			}
		}
	}
	c.place = cmdlinePlace
	if c.chap.From = "rd.iscsi.username="; c.chap.Password != "" {
		c.chap.From = "rd.iscsi.password="
	}
	c.below(readInitramfsFile(s.FS))
	c.finishTargets()
	c.finishNICs()
	return c
}

// imageFiles are the files by which dracut gives an initramfs a command line of
// its own; the kernel's comes last (dracut.cmdline(7), dracut-lib.sh's getcmdline).
// On an installed system they are no business of a boot.
func imageFiles(fsys fs.FS) []string {
	if !Initramfs(fsys) {
		return nil
	}
	var names []string
	entries, _ := stable.ReadDir(fsys, "etc/cmdline.d")
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ".conf") {
			names = append(names, "etc/cmdline.d/"+e.Name())
		}
	}
	return append(names, "etc/cmdline")
}

// Initramfs reports whether these are the files of an initramfs.
func Initramfs(fsys fs.FS) bool {
	for _, name := range []string{"etc/initrd-release", "usr/lib/initrd-release"} {
		if _, err := fs.Stat(fsys, name); err == nil {
			return true
		}
	}
	return false
}

// parse understands a whole command line, or a file of that form. What it does
// not is in the report; words of other programs are passed over.
func (c *command) parse(text, place string) {
	c.place = place
	table := parameters()
	secret := false
	for _, w := range split(text) {
		p, ours := lookup(table, w.name)
		var e *Error
		switch {
		case p != nil:
			secret = secret || p.hide != nil && p.hide(w.value) != w.value
			if err := p.set(c, w); err != nil {
				e = mistake(c.place, redact(p, w), p.form, err)
			}
		case ours:
			// The value stays out of sight: it may be a secret behind a
			// misspelt name.
			e = mistake(c.place, w.name, nearest(table, w.name), errors.New("there is no such parameter"))
		}
		if e != nil {
			c.asks = c.asks || ours && strings.Contains(w.name, "iscsi")
			c.fail(e)
		}
	}
	if secret && place == cmdlinePlace {
		c.warn(secretShows)
	}
}

const secretShows = cmdlinePlace + ": a secret stands in it, for every user of the booted system to read in /proc/cmdline; a credential file keeps it: rd.rootlun.credentials=FILE"

// split takes a command line apart as the kernel does (lib/cmdline.c,
// next_arg; kernel/params.c, parse_args): double quotes keep blanks together,
// around a value or around a whole word, and "--" ends what is the kernel's.
func split(text string) []word {
	var words []word
	for {
		text = strings.TrimLeftFunc(text, isSpace)
		if text == "" || text[0] == 0 {
			return words
		}
		quoted := text[0] == '"'
		if quoted {
			text = text[1:]
		}
		equals, inQuote, end := 0, quoted, 0
		for ; end < len(text) && text[end] != 0; end++ {
			switch ch := text[end]; {
			case isSpace(rune(ch)) && !inQuote:
				goto found
			case ch == '=' && equals == 0: // a '=' in front of everything is part of the name
				equals = end
			case ch == '"':
				inQuote = !inQuote
			}
		}
	found:
		w := word{name: text[:end]}
		text = text[end:]
		if equals > 0 {
			w = word{w.name[:equals], w.name[equals+1:], true}
			if v, ok := strings.CutPrefix(w.value, `"`); ok {
				w.value = strings.TrimSuffix(v, `"`)
			} else if quoted {
				w.value = strings.TrimSuffix(w.value, `"`)
			}
		} else if quoted {
			w.name = strings.TrimSuffix(w.name, `"`)
		}
		if w.name == "--" && !w.given {
			return words
		}
		words = append(words, w)
	}
}

// isSpace is the kernel's isspace for one byte, but for its 0xa0, which would
// cut UTF-8 apart.
func isSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// redact returns a word as it may be shown.
func redact(p *parameter, w word) string {
	if !w.given {
		return w.name
	}
	if p.hide != nil {
		return w.name + "=" + p.hide(w.value)
	}
	return w.name + "=" + w.value
}

// readSmall reads a file, but no more than limit bytes of it.
func readSmall(fsys fs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, limit))
}
