package fw

import (
	"errors"
	"strings"

	"github.com/rootlun/rootlun/ibft"
)

// single is the target of rd.iscsi.target.*; several hosts are several paths.
type single struct {
	name     string
	hosts    []string
	port     uint16
	lun      ibft.LUN
	lunGiven bool
	given    bool
	broken   bool   // what is missing was there, and wrong
	place    string // for messages
	from     string // for Target.From
}

var errNoServer = errors.New("the server is missing")

// finishTargets makes the target of rd.iscsi.target.*, or gives its server to
// the targets of netroot= that have none.
func (c *command) finishTargets() {
	s := &c.single
	if c.rootTarget != nil && !s.lend(c, c.rootTarget) {
		c.rootTarget = nil
	}
	whole := c.targets[:0]
	for _, t := range c.targets {
		if s.lend(c, t) {
			whole = append(whole, t)
		}
	}
	c.targets = whole
	if !s.given || s.broken {
		return
	}
	bad := func(name, form, why string) {
		c.asks = true
		c.fail(mistake(first(s.place, c.place), name, form, errors.New(why)))
	}
	switch {
	case s.name == "":
		bad("rd.iscsi.target.*", "rd.iscsi.target.name=iqn.2009-06.com.example:disk", "the target's name is missing")
	case s.hosts == nil:
		bad("rd.iscsi.target.name", "rd.iscsi.target.ip=192.168.50.1", "the target's address is missing")
	}
	for _, host := range s.hosts {
		if s.name != "" {
			c.targets = append(c.targets, &portal{Target: Target{
				Index: -1, NIC: -1, Name: s.name, Host: host, Port: orDefault(s.port), LUN: s.lun, AnyLUN: !s.lunGiven,
				From: first(s.from, "rd.iscsi.target.name="),
			}})
		}
	}
}

// lend completes a target without a server, or says that it can't. RFC 4173 (5)
// would look for it by iSNS or SLP, which nobody has at boot.
func (s *single) lend(c *command, t *portal) bool {
	switch {
	case t.Host != "":
		return true
	case s.hosts != nil && s.from == "":
		t.Host = s.hosts[0]
		if t.Port == defaultPort {
			t.Port = orDefault(s.port)
		}
		if s.name == "" {
			s.given = false // it is for these
		}
		return true
	case !s.broken:
		c.fail(mistake(c.place, t.word, "netroot=iscsi:192.168.50.1::::"+t.Name+", or rd.iscsi.target.ip=192.168.50.1 as well", errNoServer))
	}
	return false
}

func setTargetName(c *command, w word) error {
	c.asks = true
	c.single.given = true
	if err := c.checkName(w.value); err != nil {
		c.single.broken = true
		return err
	}
	c.single.name = w.value
	return nil
}

// setTargetHost reads a target's address, or several with blanks between.
func setTargetHost(c *command, w word) error {
	c.asks = true
	c.single.given = true
	c.single.hosts = nil
	for _, host := range strings.Fields(w.value) {
		if v6, ok := strings.CutPrefix(host, "["); ok {
			host = strings.TrimSuffix(v6, "]")
		}
		if err := checkHost(host); err != nil {
			c.single.broken = true
			return err
		}
		c.single.hosts = append(c.single.hosts, host)
	}
	if c.single.hosts == nil {
		c.single.broken = true
		return errNoServer
	}
	return nil
}

func setTargetPort(c *command, w word) (err error) {
	c.single.given = true
	c.single.port, err = parsePort(w.value)
	c.single.broken = c.single.broken || err != nil
	return err
}

func setTargetLUN(c *command, w word) (err error) {
	c.single.given = true
	c.single.lun, err = c.parseLUN(w.value)
	c.single.lunGiven = true
	c.single.broken = c.single.broken || err != nil
	return err
}
