package handoff

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/rootlun/rootlun/session"
	"github.com/rootlun/rootlun/session/login"
)

// recordsDir is where the boot's node records lie below run, in the folders that
// open-iscsi has them in: TARGET/ADDRESS,PORT,TPGT/default.
const recordsDir = "rootlun/nodes"

// Record returns the node record of a session (open-iscsi's usr/idbm_fields.h),
// from which its iscsid takes what the kernel does not tell it: the timers, and
// by node.startup that nobody logs in or out but by name. It holds the secrets.
// tpgt is the portal group's tag that the target gave, 1 where it is not known.
// It is nil when a name or secret has a line break, which no record can hold.
func Record(c *session.Config, tpgt uint16) []byte {
	var r record
	r.b = append(r.b, "# BEGIN RECORD by rootlun\n# Of this boot alone: what is changed here is gone with it.\n"...)
	r.text("node.name", c.TargetName)
	r.number("node.tpgt", int(tpgt))
	r.text("node.startup", "onboot")
	r.text("iface.iscsi_ifacename", "default")
	r.text("iface.transport_name", "tcp")
	r.text("iface.initiatorname", c.InitiatorName)
	r.text("node.discovery_type", "fw")
	if h := c.CHAP; h != nil && h.Secret != "" {
		r.text("node.session.auth.authmethod", "CHAP")
		r.text("node.session.auth.username", h.Username)
		r.text("node.session.auth.password", string(h.Secret))
		r.text("node.session.auth.username_in", h.UsernameIn)
		r.text("node.session.auth.password_in", string(h.SecretIn))
		r.text("node.session.auth.chap_algs", algorithms(h.Algorithms))
	}
	t, o := &c.Timers, &c.Offer
	r.seconds("node.session.timeo.replacement_timeout", t.Replacement)
	r.seconds("node.session.err_timeo.abort_timeout", t.Abort)
	r.seconds("node.session.err_timeo.lu_reset_timeout", t.LUReset)
	r.seconds("node.session.err_timeo.tgt_reset_timeout", t.TargetReset)
	r.number("node.session.cmds_max", int(c.CmdsMax))
	r.number("node.session.queue_depth", int(c.QueueDepth))
	r.yes("node.session.iscsi.FastAbort", t.FastAbort)
	r.yes("node.session.iscsi.InitialR2T", o.InitialR2T)
	r.yes("node.session.iscsi.ImmediateData", o.ImmediateData)
	r.number("node.session.iscsi.FirstBurstLength", int(o.FirstBurstLength))
	r.number("node.session.iscsi.MaxBurstLength", int(o.MaxBurstLength))
	r.number("node.session.iscsi.DefaultTime2Wait", int(o.DefaultTime2Wait))
	r.number("node.session.iscsi.DefaultTime2Retain", int(o.DefaultTime2Retain))
	r.number("node.session.iscsi.MaxOutstandingR2T", int(o.MaxOutstandingR2T))
	r.text("node.conn[0].address", address(c))
	r.number("node.conn[0].port", int(c.Portal.Port()))
	if c.TCPWindow > 0 {
		r.number("node.conn[0].tcp.window_size", c.TCPWindow)
	}
	r.seconds("node.conn[0].timeo.login_timeout", t.Login)
	r.seconds("node.conn[0].timeo.noop_out_interval", t.NoopInterval)
	r.seconds("node.conn[0].timeo.noop_out_timeout", t.NoopTimeout)
	r.number("node.conn[0].iscsi.MaxRecvDataSegmentLength", int(o.MaxRecvDataSegmentLength))
	r.text("node.conn[0].iscsi.HeaderDigest", digests(o.HeaderDigest))
	r.text("node.conn[0].iscsi.DataDigest", digests(o.DataDigest))
	if r.broken {
		return nil
	}
	return append(r.b, "# END RECORD\n"...)
}

// record is the text of a record as it grows.
type record struct {
	b      []byte
	broken bool // a value would end its line
}

// text adds a setting, if it has a value.
func (r *record) text(name, value string) {
	if value == "" {
		return
	}
	r.broken = r.broken || strings.ContainsAny(value, "\n\r\x00")
	r.b = append(append(append(append(r.b, name...), " = "...), value...), '\n')
}

func (r *record) number(name string, n int) { r.text(name, strconv.Itoa(n)) }

func (r *record) seconds(name string, d time.Duration) { r.number(name, int(d/time.Second)) }

func (r *record) yes(name string, b bool) {
	value := "No"
	if b {
		value = "Yes"
	}
	r.text(name, value)
}

// WriteRecord writes a session's record below run, readable for root alone. See
// Lay for how iscsid comes to see it.
func WriteRecord(run string, c *session.Config, tpgt uint16) error {
	text := Record(c, tpgt)
	if text == nil || strings.Contains(c.TargetName, "/") || strings.HasPrefix(c.TargetName, ".") {
		return fmt.Errorf("no node record for %q: a name or secret does not fit in", c.TargetName)
	}
	portal := fmt.Sprintf("%s,%d,%d", address(c), c.Portal.Port(), tpgt)
	return writeFile(path.Join(run, recordsDir, c.TargetName, portal, "default"), text, 0o600)
}

// address is the portal's, as the kernel was told it.
func address(c *session.Config) string { return c.Portal.Addr().Unmap().String() }

func digests(list []login.Digest) (s string) {
	for _, d := range list {
		s += "," + string(d)
	}
	return strings.TrimPrefix(s, ",")
}

// algorithms are what is offered of CHAP, by open-iscsi's names.
func algorithms(list []login.Algorithm) (s string) {
	if len(list) == 0 {
		return "SHA3-256,SHA256,SHA1,MD5"
	}
	for _, a := range list {
		s += "," + strings.Replace(a.String(), "SHA-", "SHA", 1)
	}
	return s[1:]
}
