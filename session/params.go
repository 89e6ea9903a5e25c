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

// configured returns what the kernel is told before the login, in open-iscsi's
// order (usr/initiator_common.c, iscsi_session_set_params). The host's NETDEV
// and HWADDRESS are left alone: iscsid would bind to a NIC name of the past.
func (a *attempt) configured() []param {
	c := &a.Config
	chap := login.CHAP{}
	if c.CHAP != nil {
		chap = *c.CHAP
	}
	recovery := "-1"
	if c.Timers.Replacement >= 0 {
		recovery = wholeSeconds(c.Timers.Replacement)
	}
	return []param{
		{kernel.TargetName, c.TargetName},
		// The portal to come back to: as configured, not as redirected.
		{kernel.PersistentAddress, c.Portal.Addr().Unmap().String()},
		{kernel.PersistentPort, decimal(c.Portal.Port())},
		{kernel.RecoveryTimeout, recovery},
		{kernel.Username, chap.Username},
		{kernel.UsernameIn, chap.UsernameIn},
		{kernel.Password, string(chap.Secret)},
		{kernel.PasswordIn, string(chap.SecretIn)},
		{kernel.FastAbort, flag(c.Timers.FastAbort)},
		{kernel.AbortTimeout, wholeSeconds(c.Timers.Abort)},
		{kernel.LUResetTimeout, wholeSeconds(c.Timers.LUReset)},
		{kernel.TgtResetTimeout, wholeSeconds(c.Timers.TargetReset)},
		{kernel.PingTimeout, wholeSeconds(c.Timers.NoopTimeout)},
		{kernel.RecvTimeout, wholeSeconds(c.Timers.NoopInterval)},
		{kernel.IfaceName, "default"},
		{kernel.InitiatorName, c.InitiatorName},
		{kernel.DiscoverySession, "0"},
	}
}

// negotiated returns what the kernel is told after the login, in open-iscsi's
// order (iscsi_session_set_neg_params). The digests work from then on.
func negotiated(r *login.Result) []param {
	return []param{
		{kernel.MaxRecvDLength, decimal(r.MaxRecvDataSegmentLength)},
		{kernel.MaxXmitDLength, decimal(r.MaxXmitDataSegmentLength)},
		{kernel.HeaderDigest, flag(crc32c(r.HeaderDigest))},
		{kernel.DataDigest, flag(crc32c(r.DataDigest))},
		{kernel.InitialR2T, flag(r.InitialR2T)},
		{kernel.MaxR2T, decimal(r.MaxOutstandingR2T)},
		{kernel.ImmediateData, flag(r.ImmediateData)},
		{kernel.FirstBurst, decimal(r.FirstBurstLength)},
		{kernel.MaxBurst, decimal(r.MaxBurstLength)},
		{kernel.PDUInOrder, flag(r.DataPDUInOrder)},
		{kernel.DataSeqInOrder, flag(r.DataSequenceInOrder)},
		{kernel.ERL, decimal(r.ErrorRecoveryLevel)},
		{kernel.ExpStatSN, decimal(r.ExpStatSN)},
		{kernel.TPGT, decimal(r.TargetPortalGroupTag)},
	}
}

// set sets parameters. Those that this kernel does not know are left out.
func (a *attempt) set(ctx context.Context, params []param) error {
	for _, p := range params {
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

func decimal[T uint8 | uint16 | uint32](n T) string { return strconv.FormatUint(uint64(n), 10) }

func wholeSeconds(d time.Duration) string { return strconv.FormatInt(int64(d/time.Second), 10) }

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
