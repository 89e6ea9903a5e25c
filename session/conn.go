package session

import (
	"context"
	"fmt"

	"github.com/rootlun/rootlun/session/kernel"
	"github.com/rootlun/rootlun/session/login"
	"github.com/rootlun/rootlun/session/pdu"
)

// pduConn carries the PDUs of a kernel connection for package login.
type pduConn struct{ *kernel.Conn }

var _ login.Conn = pduConn{}

// Send hands one PDU over.
func (c pduConn) Send(ctx context.Context, p pdu.PDU) error {
	return c.SendPDU(ctx, p.Header[:], p.Data)
}

// Receive returns the next PDU. The kernel has taken its digests and additional
// header segments off, but may have left padding and more behind the data.
func (c pduConn) Receive(ctx context.Context) (pdu.PDU, error) {
	for {
		ev, err := c.Conn.Receive(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return pdu.PDU{}, &awaited{"the target did not answer", ctx.Err()}
		case err != nil:
			return pdu.PDU{}, err
		case ev.Kind == kernel.ConnFailed:
			return pdu.PDU{}, ev.Code
		case ev.Kind == kernel.SessionDestroyed:
			return pdu.PDU{}, fmt.Errorf("another process destroyed session %d", ev.SID)
		case ev.Kind == kernel.ReceivedPDU:
			return splitPDU(ev.PDU)
		}
	}
}

func splitPDU(b []byte) (pdu.PDU, error) {
	var p pdu.PDU
	if len(b) < pdu.HeaderLen {
		return p, fmt.Errorf("the kernel handed over a PDU of %d bytes", len(b))
	}
	rest := b[copy(p.Header[:], b):]
	n := p.DataLen()
	if n > len(rest) {
		return p, fmt.Errorf("the kernel handed over %d bytes of a PDU's %d bytes of data", len(rest), n)
	}
	p.Data = rest[:n]
	return p, nil
}
