package pdu

import (
	"context"
	"fmt"
	"io"
	"time"
)

// ReadPDU reads one PDU without digests from r. It fails before reading it on
// a data segment longer than maxData bytes or an additional header segment. A
// stream that ends before the first byte gives io.EOF, one that ends within a
// PDU wraps io.ErrUnexpectedEOF. Padding is dropped unseen.
func ReadPDU(r io.Reader, maxData int) (PDU, error) {
	var p PDU
	if _, err := io.ReadFull(r, p.Header[:]); err != nil {
		if err == io.EOF {
			return PDU{}, err
		}
		return PDU{}, fmt.Errorf("header of a PDU: %w", err)
	}
	n := p.DataLen()
	switch {
	case p.Header[4] != 0:
		return PDU{}, malformed(p.Opcode().String(), 4, "%d words of additional header, expected none", p.Header[4])
	case n > maxData:
		return PDU{}, malformed(p.Opcode().String(), 5, "data segment of %d bytes, at most %d were agreed", n, maxData)
	}
	b := make([]byte, n+padding(n))
	if _, err := io.ReadFull(r, b); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return PDU{}, fmt.Errorf("data segment of a %v: %w", p.Opcode(), err)
	}
	p.Data = b[:n:n]
	return p, nil
}

// WritePDU writes p without digests and with padding to w, in one call.
func WritePDU(w io.Writer, p PDU) error {
	if p.DataLen() != len(p.Data) {
		return malformed(p.Opcode().String(), 5, "data segment of %d bytes announced, %d given", p.DataLen(), len(p.Data))
	}
	b := make([]byte, 0, HeaderLen+len(p.Data)+3)
	b = append(append(b, p.Header[:]...), p.Data...)
	b = append(b, make([]byte, padding(len(p.Data)))...)
	_, err := w.Write(b)
	return err
}

// padding is what fills n bytes up to whole words.
func padding(n int) int { return -n & 3 }

// Stream carries PDUs over a byte stream. When the ReadWriter has a SetDeadline
// method, as a net.Conn and an *os.File have, the end of a context interrupts
// Send and Receive; the stream is of no use afterwards.
type Stream struct {
	io.ReadWriter
	MaxData int // longest data segment taken, in bytes; 0: DefaultMaxData
}

// Send writes one PDU.
func (s *Stream) Send(ctx context.Context, p PDU) error {
	return s.within(ctx, func() error { return WritePDU(s.ReadWriter, p) })
}

// Receive reads one PDU.
func (s *Stream) Receive(ctx context.Context) (p PDU, err error) {
	maxData := s.MaxData
	if maxData == 0 {
		maxData = DefaultMaxData
	}
	err = s.within(ctx, func() error {
		p, err = ReadPDU(s.ReadWriter, maxData)
		return err
	})
	return p, err
}

// within runs f until it returns or ctx ends.
func (s *Stream) within(ctx context.Context, f func() error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if d, ok := s.ReadWriter.(interface{ SetDeadline(time.Time) error }); ok {
		stop := context.AfterFunc(ctx, func() { d.SetDeadline(time.Unix(1, 0)) })
		defer stop()
	}
	err := f()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
