package session

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/login"
)

// param is a kernel parameter and its text. An empty text is not set.
type param struct {
	name  kernel.Param
	value string
}

type params []param

func (p *params) add(name kernel.Param, value string) { *p = append(*p, param{name, value}) }

// configured returns what the kernel is told before the login, in open-iscsi's
// order (usr/initiator_common.c, iscsi_session_set_params). The host's NETDEV
// and HWADDRESS are left alone: iscsid would bind to a NIC name of the past.
func (a *attempt) configured() (p params) {
	c := &a.Config
	chap := login.CHAP{}
	if c.CHAP != nil {
		chap = *c.CHAP
	}
	recovery := "-1"
	if c.Timers.Replacement >= 0 {
		recovery = wholeSeconds(c.Timers.Replacement)
	}
	p.add(kernel.TargetName, c.TargetName)
	// The portal to come back to: as configured, not as redirected.
	p.add(kernel.PersistentAddress, c.Portal.Addr().Unmap().String())
	p.add(kernel.PersistentPort, decimal(uint32(c.Portal.Port())))
	p.add(kernel.RecoveryTimeout, recovery)
	p.add(kernel.Username, chap.Username)
	p.add(kernel.UsernameIn, chap.UsernameIn)
	p.add(kernel.Password, string(chap.Secret))
	p.add(kernel.PasswordIn, string(chap.SecretIn))
	p.add(kernel.FastAbort, flag(c.Timers.FastAbort))
	p.add(kernel.AbortTimeout, wholeSeconds(c.Timers.Abort))
	p.add(kernel.LUResetTimeout, wholeSeconds(c.Timers.LUReset))
	p.add(kernel.TgtResetTimeout, wholeSeconds(c.Timers.TargetReset))
	p.add(kernel.PingTimeout, wholeSeconds(c.Timers.NoopTimeout))
	p.add(kernel.RecvTimeout, wholeSeconds(c.Timers.NoopInterval))
	p.add(kernel.IfaceName, "default")
	p.add(kernel.InitiatorName, c.InitiatorName)
	p.add(kernel.DiscoverySession, "0")
	return p
}

// negotiated returns what the kernel is told after the login, in open-iscsi's
// order (iscsi_session_set_neg_params). The digests work from then on.
func negotiated(r *login.Result) (p params) {
	p.add(kernel.MaxRecvDLength, decimal(r.MaxRecvDataSegmentLength))
	p.add(kernel.MaxXmitDLength, decimal(r.MaxXmitDataSegmentLength))
	p.add(kernel.HeaderDigest, flag(crc32c(r.HeaderDigest)))
	p.add(kernel.DataDigest, flag(crc32c(r.DataDigest)))
	p.add(kernel.InitialR2T, flag(r.InitialR2T))
	p.add(kernel.MaxR2T, decimal(uint32(r.MaxOutstandingR2T)))
	p.add(kernel.ImmediateData, flag(r.ImmediateData))
	p.add(kernel.FirstBurst, decimal(r.FirstBurstLength))
	p.add(kernel.MaxBurst, decimal(r.MaxBurstLength))
	p.add(kernel.PDUInOrder, flag(r.DataPDUInOrder))
	p.add(kernel.DataSeqInOrder, flag(r.DataSequenceInOrder))
	p.add(kernel.ERL, decimal(uint32(r.ErrorRecoveryLevel)))
	p.add(kernel.ExpStatSN, decimal(r.ExpStatSN))
	p.add(kernel.TPGT, decimal(uint32(r.TargetPortalGroupTag)))
	return p
}

// set sets parameters. Those that this kernel does not know are left out.
func (a *attempt) set(ctx context.Context, list params) error {
	for _, p := range list {
		if p.value == "" {
			continue
		}
		if err := a.conn.Set(ctx, p.name, p.value); err != nil && !errors.Is(err, unix.ENOSYS) {
			return err
		}
	}
	return nil
}

func crc32c(agreed []login.Digest) bool { return len(agreed) == 1 && agreed[0] == login.DigestCRC32C }

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

func wholeSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
