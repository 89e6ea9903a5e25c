package fw

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/rootlun/rootlun/ibft"
)

// Credentials is what a credential file says:
//
//	# one NAME = VALUE a line, by open-iscsi's names
//	InitiatorName = iqn.2009-06.com.example:host
//	node.session.auth.username = NAME
//	node.session.auth.password = SECRET
//	node.session.auth.username_in = NAME
//	node.session.auth.password_in = SECRET
//	discovery.sendtargets.auth.username = NAME (and its kin)
//	[iqn.2009-06.com.example:disk]
//	node.session.auth.password = SECRET, of that target alone
//
// A CHAP in it may lack what another source has.
type Credentials struct {
	Initiator string
	CHAP      CHAP            // of every target
	Targets   map[string]CHAP // of one target, by its name; each value goes before that of CHAP
	Discovery CHAP
	From      string // the file; empty: there is none
}

// For returns the credentials of a target, the zero CHAP when there are none.
func (c *Credentials) For(target string) CHAP {
	h := c.Targets[target]
	return h.over(&c.CHAP)
}

// over lays credentials over others, value by value. From tells where the
// password is from.
func (h *CHAP) over(low *CHAP) CHAP {
	from := h.From
	if h.Password == "" && (low.Password != "" || h.empty()) {
		from = low.From
	}
	return CHAP{
		Username: cmp.Or(h.Username, low.Username), Password: cmp.Or(h.Password, low.Password),
		UsernameIn: cmp.Or(h.UsernameIn, low.UsernameIn), PasswordIn: cmp.Or(h.PasswordIn, low.PasswordIn),
		From: from,
	}
}

func (h *CHAP) empty() bool {
	return h.Username == "" && h.Password == "" && h.UsernameIn == "" && h.PasswordIn == ""
}

// check says what credentials lack.
func (h *CHAP) check() error {
	switch {
	case h.empty():
		return nil
	case h.PasswordIn == "" && h.UsernameIn != "":
		return errors.New("the password is missing by which the target proves itself")
	case h.Password == "" && h.Username != "":
		return errors.New("the password is missing")
	case h.Password == "":
		return errors.New("the target proves itself only to an initiator that does so too: user name and password are wanted as well")
	case h.Username == "":
		return errors.New("the user name is missing")
	case h.PasswordIn == h.Password:
		return errors.New("the same CHAP secret stands for both directions (RFC 7143, 9.2.1, forbids it)")
	}
	return nil
}

// setAuth reads rd.rootlun.auth=.
func setAuth(c *command, w word) error {
	c.authOptional = w.value == "optional"
	if !c.authOptional && w.value != "required" {
		return errors.New("that is neither optional nor required")
	}
	return nil
}

// minSecret is how many bytes a secret should have: 96 bits (RFC 7143, 9.2.1).
const minSecret = 12

// Weak warns of a secret that is too short; empty: there is none such. Any
// length is taken all the same.
func (h CHAP) Weak() string {
	whose := ""
	switch {
	case h.Password != "" && len(h.Password) < minSecret:
		whose = h.Username
	case h.PasswordIn != "" && len(h.PasswordIn) < minSecret:
		whose = cmp.Or(h.UsernameIn, "the target")
	default:
		return ""
	}
	return h.From + ": the CHAP secret of " + whose + " is shorter than the 12 bytes that RFC 7143 (9.2.1) asks for"
}

const (
	credentialsMost = 64 << 10 // bytes of a file
	credentialsForm = "NAME = VALUE, such as node.session.auth.password = SECRET; username, username_in and password_in are the others"
	credentialsName = "rootlun.credentials"
)

// setCredentials reads rd.rootlun.credentials=.
func setCredentials(c *command, w word) error {
	if w.value == "" || strings.Contains(w.value, "/") && w.value[0] != '/' {
		return errors.New("that is neither an absolute path nor the name of a file in a credential folder")
	}
	c.credentials = w.value
	return nil
}

// readCredentials reads the file that the command line names, else the first
// that there is: systemd's credential of the service, of the system, and of
// the initrd (systemd.exec(5), systemd(1)), what systemd-stub(7) has packed
// beside the kernel, and the image's own. What is wrong with it is for r.
func readCredentials(s *Sources, name string, r *report) *Credentials {
	given := name != ""
	places := []string{fsPath(name)}
	if !strings.HasPrefix(name, "/") {
		own := cmp.Or(name, "credentials")
		name = cmp.Or(name, credentialsName)
		places = []string{
			path.Join("run/credentials/@system", name),
			path.Join("run/credentials/@initrd", name),
			path.Join(".extra/credentials", name+".cred"),
			path.Join(".extra/global_credentials", name+".cred"),
			path.Join("etc/rootlun", own),
		}
		if s.Credentials != "" {
			places = append([]string{path.Join(fsPath(s.Credentials), name)}, places...)
		}
	}
	i := slices.IndexFunc(places, func(p string) bool { _, err := fs.Stat(s.FS, p); return err == nil })
	if i >= 0 {
		c, warnings, err := ReadCredentials(s.FS, places[i], "/"+places[i])
		if err != nil {
			r.fail(err)
		}
		r.warnings = append(r.warnings, warnings...)
		return c
	}
	if given {
		r.fail(mistake(cmdlinePlace, "rd.rootlun.credentials="+name, "rd.rootlun.credentials=/PATH/TO/FILE or =NAME",
			errors.New("there is no such file to be read: not /"+strings.Join(places, ", not /"))))
	}
	return new(Credentials)
}

// fsPath makes an absolute path one of an fs.FS.
func fsPath(name string) string { return strings.TrimPrefix(path.Clean("/"+name), "/") }

// ReadCredentials reads a credential file of at most 64 KiB; place is its path
// for people. It returns every mistake at once (errors.Join of *Error); no
// error and no warning shows what may be a secret.
func ReadCredentials(fsys fs.FS, name, place string) (c *Credentials, warnings []string, err error) {
	text, err := readSmall(fsys, name, credentialsMost+1)
	if err == nil && len(text) > credentialsMost {
		err = fmt.Errorf("the file is larger than %d bytes", credentialsMost)
	}
	if err != nil {
		return new(Credentials), nil, mistake(place, "", "", err)
	}
	r := &credentialFile{report: report{place: place}, Credentials: Credentials{From: place}}
	r.parse(string(text))
	if info, err := fs.Stat(fsys, name); err == nil && info.Mode().Perm()&0o004 != 0 {
		r.warn(place, ": every user of this system can read it, and the secrets in it: chmod 600 "+place)
	}
	return &r.Credentials, r.warnings, errors.Join(r.errs...)
}

// credentialFile is a file that is being read.
type credentialFile struct {
	report
	Credentials
	section string // the target whose lines follow; empty: those of all
}

func (r *credentialFile) parse(text string) {
	n := 0
	for _, line := range strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n") {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, given := strings.Cut(line, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		var err error
		section, isSection := strings.CutPrefix(line, "[")
		switch {
		case !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl):
			name, err = "", errors.New("that is no text")
		case isSection:
			name, err = "", r.setSection(section)
		case !given:
			name, err = "", errors.New("that is no setting")
		case value == "":
			err = errNoValue
		default:
			err = r.set(name, value)
		}
		if err != nil {
			r.fail(mistake(fmt.Sprintf("%s, line %d", r.place, n), settingName(name), credentialsForm, err))
		}
	}
}

func (r *credentialFile) setSection(s string) error {
	name, ok := strings.CutSuffix(s, "]")
	if !ok {
		return errors.New("the ']' behind the target's name is missing")
	}
	r.section = strings.TrimSpace(name)
	_, err := checkName(r.section)
	return err
}

func (r *credentialFile) set(name, value string) error {
	if name == "InitiatorName" {
		if r.section != "" {
			return errors.New("that is of all targets, and stands below the name of one")
		}
		r.Initiator = value
		return r.checkName(value)
	}
	if field, ok := strings.CutPrefix(name, "discovery.sendtargets.auth."); ok {
		return r.field(&r.Discovery, field, value)
	}
	field, ok := strings.CutPrefix(name, "node.session.auth.")
	if !ok {
		return errNoSetting
	}
	if r.section == "" {
		return r.field(&r.CHAP, field, value)
	}
	h := r.Targets[r.section]
	err := r.field(&h, field, value)
	if r.Targets == nil {
		r.Targets = make(map[string]CHAP)
	}
	r.Targets[r.section] = h
	return err
}

var errNoSetting = errors.New("this setting is not supported")

func (r *credentialFile) field(h *CHAP, field, value string) error {
	h.From = r.place
	switch field {
	case "username":
		h.Username = value
	case "password":
		h.Password = ibft.Secret(value)
	case "username_in":
		h.UsernameIn = value
	case "password_in":
		h.PasswordIn = ibft.Secret(value)
	case "authmethod": // what is there decides, as in open-iscsi
	default:
		return errNoSetting
	}
	return nil
}

// settingName returns the name of a setting as it may be shown: what is none
// may be a secret in the wrong place.
func settingName(s string) string {
	ours := s == "InitiatorName" || strings.HasPrefix(s, "node.") || strings.HasPrefix(s, "discovery.")
	if !ours || strings.Trim(s, "abcdefghijklmnopqrstuvwxyzIN._") != "" {
		return ""
	}
	return s
}
