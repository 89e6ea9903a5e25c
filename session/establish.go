package session

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/login"
)

const (
	// Reconnect's wait for the TCP handshake. A link that was down is up sooner
	// than TCP sends its third SYN again.
	reconnectDial = 5 * time.Second
	undoTimeout   = 20 * time.Second // to take down what a failed attempt built
)

// Login makes one attempt, within Timers.Login. It follows redirects, and tries
// CHAP once more with MD5 alone where package login advises so. When it fails
// nothing of it is left in the kernel. Its errors are *OpError.
func (in *Initiator) Login(ctx context.Context, cfg Config) (_ *Session, err error) {
	if c := cfg.CHAP; c != nil && c.Username == "" && c.Secret == "" && c.UsernameIn == "" && c.SecretIn == "" {
		cfg.CHAP = nil // chap_algs alone asks for no authentication
	}
	s := &Session{Portal: cfg.Portal, Config: cfg, in: in}
	a := &attempt{Session: s, start: time.Now()}
	if err := cfg.check(); err != nil {
		return nil, a.failed("configure", err)
	}
	if cfg.NeedCHAP && cfg.CHAP == nil {
		return nil, a.failed("configure", &login.ConfigError{Reason: "CHAP is asked for, and there are no credentials"})
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Timers.Login)
	defer cancel()

	// The socket comes first: a dead portal costs the kernel nothing.
	sock, err := dial(ctx, cfg.Portal, cfg.Interface, cfg.TCPWindow)
	if err != nil {
		return nil, a.failed("connect", err)
	}
	defer func() { sock.Close() }()

	made, err := in.netlink.CreateSession(ctx, cfg.CmdsMax, cfg.QueueDepth)
	if err != nil {
		return nil, a.failed("create session", err)
	}
	s.SID, s.HostNo = made.SID, made.HostNo
	a.conn, err = in.netlink.CreateConn(ctx, s.SID, cid)
	defer a.conn.Close()
	defer func() {
		if err != nil {
			err = errors.Join(err, a.destroy())
		}
	}()
	if err != nil {
		return nil, a.failed("create connection", err)
	}
	if err := a.establish(ctx, sock); err != nil {
		return nil, err
	}
	return s, nil
}

// Reconnect gives a session that exists a new connection to the configured
// portal, within Timers.Login. To the target it is a session reinstatement
// (RFC 7143, 6.3.5), as the session's ISID stays. The devices wait meanwhile,
// and after a failure they wait on: call it again. mine, which may be nil, is
// asked before each command that would disturb another manager of the session;
// when it says no the attempt ends with ErrNotMine and leaves all as it is.
func (s *Session) Reconnect(ctx context.Context, mine func() bool) error {
	s.Portal = s.Config.Portal
	a := &attempt{Session: s, start: time.Now(), mine: mine}
	if err := s.Config.check(); err != nil {
		return a.failed("configure", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.Config.Timers.Login)
	defer cancel()

	// Who watches goes on to hear the connection that this one becomes.
	if a.conn = s.watch; a.conn == nil {
		a.conn = s.in.netlink.Listen(s.SID, cid)
		defer a.conn.Close()
	}
	if err := a.stop(ctx); err != nil {
		return a.failed("stop connection", err)
	}
	connecting, connected := context.WithTimeout(ctx, reconnectDial)
	defer connected()
	sock, err := dial(connecting, s.Config.Portal, s.Config.Interface, s.Config.TCPWindow)
	if err != nil {
		return a.failed("connect", err)
	}
	defer sock.Close()
	if err := a.establish(ctx, sock); err != nil {
		stop, cancel := context.WithTimeout(context.Background(), undoTimeout)
		defer cancel()
		if a.asked() != nil { // what the other one has built meanwhile is not ours to stop
			return err
		}
		return errors.Join(err, a.conn.Stop(stop, kernel.StopRecover))
	}
	s.mute.Store(false)
	return nil
}

// attempt is a session on its way to the full feature phase.
type attempt struct {
	*Session
	conn  *kernel.Conn
	start time.Time
	mine  func() bool // see Reconnect; nil: it is
}

// asked returns ErrNotMine when somebody else has taken the session over.
func (a *attempt) asked() error {
	if a.mine == nil || a.mine() {
		return nil
	}
	return ErrNotMine
}

func (a *attempt) stop(ctx context.Context) error {
	if err := a.asked(); err != nil {
		return err
	}
	return a.conn.Stop(ctx, kernel.StopRecover)
}

func (a *attempt) failed(op string, err error) error {
	return &OpError{Op: op, Target: a.Config.TargetName, Portal: a.Portal, After: time.Since(a.start), Err: err}
}

// destroy takes down what an attempt built, also when its context has ended.
func (a *attempt) destroy() error {
	ctx, cancel := context.WithTimeout(context.Background(), undoTimeout)
	defer cancel()
	return a.in.destroy(ctx, a.conn, a.SID)
}

// destroy takes a session and its connection out of the kernel.
func (in *Initiator) destroy(ctx context.Context, conn *kernel.Conn, sid uint32) error {
	// A connection that was never bound has nothing to stop.
	_ = conn.Stop(ctx, kernel.StopTerm)
	return errors.Join(conn.Destroy(ctx), in.netlink.DestroySession(ctx, sid))
}

// establish logs in over sock, or over the sockets of the portals that the
// target sends us to. It closes sock.
func (a *attempt) establish(ctx context.Context, sock *os.File) error {
	chap := a.Config.CHAP
	way := route{portal: a.Portal, note: a.in.note}
	for {
		err := a.logIn(ctx, sock, chap)
		sock.Close()
		if err == nil {
			return nil
		}

		moved, redirected := errors.AsType[*login.RedirectError](err)
		weaker := login.RetryMD5(err) && chap != nil
		if !weaker && !redirected {
			return err
		}
		if err := a.stop(ctx); err != nil {
			return a.failed("stop connection", err)
		}
		if weaker {
			a.in.note(err.Error() + "; once more with MD5 alone")
			chap = chap.MD5Alone()
			sock, err = dial(ctx, a.Portal, a.Config.Interface, a.Config.TCPWindow)
			if err != nil {
				return a.failed("connect", err)
			}
		} else {
			sock, err = way.follow(ctx, &a.Config, moved)
			if err != nil {
				return a.failed(opFollow+moved.Address, err)
			}
			a.Portal = way.portal
		}
	}
}

// logIn takes a connected socket to the full feature phase, in the order that
// newer kernels insist on: bind, parameters, login, what it agreed on, start.
func (a *attempt) logIn(ctx context.Context, sock *os.File, chap *login.CHAP) error {
	if err := a.asked(); err != nil {
		return a.failed("bind", err)
	}
	if err := a.conn.Bind(ctx, sock); err != nil {
		return a.failed("bind", err)
	}
	if !a.adopted {
		if err := a.set(ctx, a.configured()); err != nil {
			return a.failed("set parameter", err)
		}
	}
	result, err := login.Login(ctx, pduConn{a.conn}, login.Config{
		InitiatorName: a.Config.InitiatorName,
		TargetName:    a.Config.TargetName,
		ISID:          isid(a.SID),
		CID:           cid,
		CHAP:          chap,
		Offer:         a.Config.Offer,
	})
	if err != nil {
		return a.failed(opLogin, err)
	}
	if chap != nil && result.Algorithm == 0 {
		a.in.note(unasked + a.Portal.String())
	}
	if most := a.Config.MaxXmitDataSegmentLength; most > 0 {
		result.MaxXmitDataSegmentLength = min(result.MaxXmitDataSegmentLength, most)
	}
	if err := a.asked(); err != nil {
		return a.failed("start", err)
	}
	if err := a.set(ctx, negotiated(result)); err != nil {
		return a.failed("set parameter", err)
	}
	if err := a.conn.Start(ctx); err != nil {
		return a.failed("start", err)
	}
	a.Result = *result
	if a.adopted {
		return nil
	}
	// Through sysfs, so that a daemon that takes over cannot shorten it.
	if err := a.in.sys.PinRecoveryTimeout(a.SID, a.Config.Timers.Replacement); err != nil {
		return a.failed("set recovery_tmo", err)
	}
	return nil
}

// isid is the ISID that iscsid will use when it logs the session in again: its
// own OUI and the low 24 bits of the kernel's number (usr/initiator.c,
// session_conn_poll). With any other that would be a second nexus.
func isid(sid uint32) [6]byte {
	return [6]byte{0x00, 0x02, 0x3d, byte(sid >> 16), byte(sid >> 8), byte(sid)}
}
