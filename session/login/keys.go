package login

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rootlun/rootlun/session/pdu"
)

// row is one key of RFC 7143, section 13.
type row struct {
	key      string
	kind     kind
	min, max uint64 // of a number
	def      string // what holds when nothing is agreed
	// result computes what two sides agree on, "" when they cannot. It is nil
	// for a key that each side declares.
	result func(own, theirs string) string
	normal bool // Irrelevant in a discovery session
}

// kind is the form of a value (RFC 7143, 6.1).
type kind int

const (
	text kind = iota
	number
	boolean
	list
)

// table holds every operational key that a login can meet, in the order in
// which they are offered. Keys that are obsolete (IFMarker, OFMarker, …) are
// not in it: the answer to them is NotUnderstood (RFC 7143, 13.25).
func table() []row {
	return []row{
		{key: "HeaderDigest", kind: list, def: "None", result: choose},
		{key: "DataDigest", kind: list, def: "None", result: choose},
		{key: "DefaultTime2Wait", kind: number, max: 3600, def: "2", result: greater},
		{key: "DefaultTime2Retain", kind: number, max: 3600, def: "20", result: lesser},
		{key: "ErrorRecoveryLevel", kind: number, max: 2, def: "0", result: lesser},
		{key: "InitialR2T", kind: boolean, def: "Yes", result: or, normal: true},
		{key: "ImmediateData", kind: boolean, def: "Yes", result: and, normal: true},
		{key: "MaxBurstLength", kind: number, min: 512, max: 1<<24 - 1, def: "262144", result: lesser, normal: true},
		{key: "FirstBurstLength", kind: number, min: 512, max: 1<<24 - 1, def: "65536", result: lesser, normal: true},
		{key: "MaxOutstandingR2T", kind: number, min: 1, max: 65535, def: "1", result: lesser, normal: true},
		{key: "MaxConnections", kind: number, min: 1, max: 65535, def: "1", result: lesser, normal: true},
		{key: "DataPDUInOrder", kind: boolean, def: "Yes", result: or, normal: true},
		{key: "DataSequenceInOrder", kind: boolean, def: "Yes", result: or, normal: true},
		{key: "MaxRecvDataSegmentLength", kind: number, min: 512, max: 1<<24 - 1, def: "8192"},
		// Never offered, understood when the target sends them.
		{key: "TaskReporting", kind: list, def: "RFC3720", result: choose, normal: true},
		{key: "iSCSIProtocolLevel", kind: number, max: 31, def: "1", result: lesser, normal: true}, // RFC 7144
		{key: "TargetPortalGroupTag", kind: number, max: 65535, def: "0"},
		{key: "TargetAlias"},
		{key: "TargetAddress"},
		{key: "X#NodeArchitecture"},
	}
}

// The result functions.

func lesser(own, theirs string) string {
	if toNumber(own) < toNumber(theirs) {
		return own
	}
	return theirs
}

func greater(own, theirs string) string {
	if toNumber(own) > toNumber(theirs) {
		return own
	}
	return theirs
}

func or(own, theirs string) string {
	if own == "Yes" {
		return own
	}
	return theirs
}

func and(own, theirs string) string {
	if own == "No" {
		return own
	}
	return theirs
}

// choose returns the first of our values that the target named too.
func choose(own, theirs string) string {
	for _, o := range strings.Split(own, ",") {
		for _, t := range strings.Split(theirs, ",") {
			if o == t {
				return o
			}
		}
	}
	return ""
}

// check returns value in the one form that all code compares.
func (r *row) check(value string) (string, error) {
	switch r.kind {
	case number:
		n, err := parseNumber(value)
		if err != nil || n < r.min || n > r.max {
			return "", fmt.Errorf("%s is %.40q, expected a number from %d to %d", r.key, value, r.min, r.max)
		}
		return strconv.FormatUint(n, 10), nil
	case boolean:
		if value != "Yes" && value != "No" {
			return "", fmt.Errorf("%s is %.40q, expected Yes or No", r.key, value)
		}
	case list:
		if value == "" {
			return "", fmt.Errorf("%s is empty", r.key)
		}
	}
	return value, nil
}

// parseNumber reads a number as RFC 7143, 6.1 has it: decimal, or hexadecimal
// behind 0x; no sign, nothing else.
func parseNumber(s string) (uint64, error) {
	base := 10
	if len(s) > 2 && s[0] == '0' && (s[1] == 'x' || s[1] == 'X') {
		s, base = s[2:], 16
	}
	return strconv.ParseUint(s, base, 64)
}

// toNumber reads a number that check has let pass.
func toNumber(s string) uint64 {
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// keys keeps apart what the initiator would like, what it has sent, what the
// target has sent, and what follows from these.
type keys struct {
	table     []row
	discovery bool
	own       map[string]string
	offered   map[string]string
	received  map[string]string
	agreed    map[string]string
	owed      []pdu.Pair // answers to send with the next request
}

func newKeys(cfg *Config) *keys {
	p := &cfg.Offer
	yes := map[bool]string{true: "Yes", false: "No"}
	return &keys{
		table:     table(),
		discovery: cfg.Discovery,
		offered:   map[string]string{},
		received:  map[string]string{},
		agreed:    map[string]string{},
		own: map[string]string{
			"HeaderDigest":             joinDigests(p.HeaderDigest),
			"DataDigest":               joinDigests(p.DataDigest),
			"DefaultTime2Wait":         fmt.Sprint(p.DefaultTime2Wait),
			"DefaultTime2Retain":       fmt.Sprint(p.DefaultTime2Retain),
			"ErrorRecoveryLevel":       fmt.Sprint(p.ErrorRecoveryLevel),
			"InitialR2T":               yes[p.InitialR2T],
			"ImmediateData":            yes[p.ImmediateData],
			"MaxBurstLength":           fmt.Sprint(p.MaxBurstLength),
			"FirstBurstLength":         fmt.Sprint(p.FirstBurstLength),
			"MaxOutstandingR2T":        fmt.Sprint(p.MaxOutstandingR2T),
			"MaxConnections":           fmt.Sprint(p.MaxConnections),
			"DataPDUInOrder":           yes[p.DataPDUInOrder],
			"DataSequenceInOrder":      yes[p.DataSequenceInOrder],
			"MaxRecvDataSegmentLength": fmt.Sprint(p.MaxRecvDataSegmentLength),
		},
	}
}

func joinDigests(d []Digest) string {
	if len(d) == 0 {
		return string(DigestNone)
	}
	s := make([]string, len(d))
	for i := range d {
		s[i] = string(d[i])
	}
	return strings.Join(s, ",")
}

// row returns the row of a key, or nil.
func (k *keys) row(key string) *row {
	for i := range k.table {
		if k.table[i].key == key {
			return &k.table[i]
		}
	}
	return nil
}

// checkOffer finds an offer that RFC 7143 does not allow.
func (k *keys) checkOffer() error {
	for _, r := range k.table {
		own, ok := k.own[r.key]
		if !ok || k.discovery && r.normal {
			continue
		}
		if _, err := r.check(own); err != nil {
			return fmt.Errorf("our own %w", err)
		}
		if r.kind == list {
			for _, v := range strings.Split(own, ",") {
				if v != string(DigestNone) && v != string(DigestCRC32C) {
					return fmt.Errorf("our own %s has %.40q, expected None or CRC32C", r.key, v)
				}
			}
		}
	}
	return nil
}

// offer returns what the initiator proposes and declares, without what the
// target has proposed already.
func (k *keys) offer() []pdu.Pair {
	var pairs []pdu.Pair
	for _, r := range k.table {
		own, ok := k.own[r.key]
		if _, done := k.agreed[r.key]; !ok || k.discovery && r.normal || done && r.result != nil {
			continue
		}
		k.offered[r.key] = own
		pairs = append(pairs, pdu.Pair{Key: r.key, Value: own})
	}
	return pairs
}

// answers hands out the answers owed.
func (k *keys) answers() []pdu.Pair {
	owed := k.owed
	k.owed = nil
	return owed
}

// maxUnknown bounds the keys to which a target can make us answer.
const maxUnknown = 128

// take takes in one key of the target's: an answer, a declaration, or a
// proposal, which then is answered with the next request. A proposal in the
// target's last response stays without an answer and without effect.
func (k *keys) take(p pdu.Pair) error {
	r := k.row(p.Key)
	if old, ok := k.received[p.Key]; ok {
		if r != nil && r.result == nil && old == p.Value {
			return nil // declared again, and the same
		}
		return fmt.Errorf("%s came twice", p.Key)
	}
	k.received[p.Key] = p.Value
	_, offered := k.offered[p.Key]
	switch {
	case isInitiatorKey(p.Key):
		return fmt.Errorf("%s came from the target, only an initiator may send it", p.Key)
	case p.Value == "NotUnderstood" || p.Value == "Irrelevant" || p.Value == "Reject":
		return nil // no agreement: the default holds
	case r == nil:
		if len(k.received) > maxUnknown+len(k.table) {
			return fmt.Errorf("more than %d unknown keys", maxUnknown)
		}
		k.owe(p.Key, "NotUnderstood")
		return nil
	}
	value, err := r.check(p.Value)
	switch {
	case err != nil:
		return err
	case r.result == nil:
		k.agreed[r.key] = value
		return nil
	case k.discovery && r.normal:
		k.owe(r.key, "Irrelevant")
		return nil
	}
	own, ok := k.own[r.key]
	if !ok {
		own = r.def
	}
	result := r.result(own, value)
	switch {
	case offered && result != value:
		return fmt.Errorf("%s=%.40q is no answer to our offer %s", r.key, p.Value, own)
	case result == "":
		k.owe(r.key, "Reject")
		return nil
	case !offered:
		k.owe(r.key, result)
	}
	k.agreed[r.key] = result
	return nil
}

func (k *keys) owe(key, value string) {
	k.owed = append(k.owed, pdu.Pair{Key: key, Value: value})
}

// isInitiatorKey tells whether only an initiator may send key in a login.
func isInitiatorKey(key string) bool {
	switch key {
	case "InitiatorName", "InitiatorAlias", "TargetName", "SessionType", "SendTargets":
		return true
	}
	return false
}

// result returns what was agreed. Where nothing was, because the target did
// not answer or did not understand, the default holds as far as our offer goes.
func (k *keys) result() (*Result, error) {
	get := map[string]string{}
	for _, r := range k.table {
		value, ok := k.agreed[r.key]
		if !ok {
			value = r.def
			if own, ours := k.own[r.key]; ours && r.result != nil {
				value = r.result(own, r.def)
			}
		}
		if value == "" && r.kind == list {
			return nil, fmt.Errorf("%s: the target does not agree to %s (it answered %.40q)", r.key, k.own[r.key], k.received[r.key])
		}
		get[r.key] = value
	}
	n := func(key string) uint64 { return toNumber(get[key]) }
	res := &Result{
		Params: Params{
			HeaderDigest:             []Digest{Digest(get["HeaderDigest"])},
			DataDigest:               []Digest{Digest(get["DataDigest"])},
			InitialR2T:               get["InitialR2T"] == "Yes",
			ImmediateData:            get["ImmediateData"] == "Yes",
			MaxRecvDataSegmentLength: uint32(toNumber(k.own["MaxRecvDataSegmentLength"])),
			MaxBurstLength:           uint32(n("MaxBurstLength")),
			FirstBurstLength:         uint32(n("FirstBurstLength")),
			DefaultTime2Wait:         uint16(n("DefaultTime2Wait")),
			DefaultTime2Retain:       uint16(n("DefaultTime2Retain")),
			MaxOutstandingR2T:        uint16(n("MaxOutstandingR2T")),
			MaxConnections:           uint16(n("MaxConnections")),
			ErrorRecoveryLevel:       uint8(n("ErrorRecoveryLevel")),
			DataPDUInOrder:           get["DataPDUInOrder"] == "Yes",
			DataSequenceInOrder:      get["DataSequenceInOrder"] == "Yes",
		},
		MaxXmitDataSegmentLength: uint32(n("MaxRecvDataSegmentLength")),
		TargetPortalGroupTag:     uint16(n("TargetPortalGroupTag")),
		TargetAlias:              printable(get["TargetAlias"]),
	}
	// RFC 7143, 13.14 forbids more, and the kernel refuses to start with it.
	res.FirstBurstLength = min(res.FirstBurstLength, res.MaxBurstLength)
	return res, nil
}

// printable returns s, or "" when it could upset a terminal.
func printable(s string) string {
	bad := func(r rune) bool { return !strconv.IsPrint(r) }
	if !utf8.ValidString(s) || strings.ContainsFunc(s, bad) {
		return ""
	}
	return s
}
