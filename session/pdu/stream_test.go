package pdu

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStreamFraming(t *testing.T) {
	for n := range 9 { // every padding
		p := NOPOut{ITT: 7, Data: bytes.Repeat([]byte("x"), n)}.Marshal()
		var wire bytes.Buffer
		if err := WritePDU(&wire, p); err != nil {
			t.Fatal(err)
		}
		if wire.Len() != HeaderLen+(n+3)/4*4 {
			t.Errorf("%d bytes of data make %d on the wire", n, wire.Len())
		}
		all := bytes.Clone(wire.Bytes())
		two := append(bytes.Clone(all), all...)
		r := iotest.OneByteReader(bytes.NewReader(two))
		for range 2 {
			got, err := ReadPDU(r, n)
			if d := cmp.Diff(p.Data, got.Data, cmp.Transformer("empty", emptyIsNil)); err != nil || d != "" || got.Header != p.Header {
				t.Errorf("%v %s", err, d)
			}
		}
		if _, err := ReadPDU(r, n); err != io.EOF {
			t.Errorf("at the end: %v", err)
		}
		for cut := 1; cut < len(all); cut++ {
			if _, err := ReadPDU(bytes.NewReader(all[:cut]), n); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%d of %d bytes: %v", cut, len(all), err)
			}
		}
		if n > 0 {
			var e *Error
			if _, err := ReadPDU(bytes.NewReader(all), n-1); !errors.As(err, &e) {
				t.Errorf("longer than allowed: %v", err)
			}
		}
	}
	p := NOPOut{Data: []byte("abc")}.Marshal()
	p.Header[4] = 3
	var e *Error
	if _, err := ReadPDU(bytes.NewReader(append(p.Header[:], make([]byte, 16)...)), 100); !errors.As(err, &e) {
		t.Errorf("additional header: %v", err)
	}
	p.Data = p.Data[:1]
	if err := WritePDU(io.Discard, p); !errors.As(err, &e) {
		t.Errorf("a wrong length was written: %v", err)
	}
}

func TestStreamEndsWithItsContext(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := &Stream{ReadWriter: a}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Receive(ctx); err != context.DeadlineExceeded {
		t.Errorf("Receive: %v", err)
	}
	if err := s.Send(ctx, NOPOut{}.Marshal()); err != context.DeadlineExceeded {
		t.Errorf("Send: %v", err)
	}
}

func TestStreamOverAConnection(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	p := NOPIn{ITT: 9, Data: make([]byte, DefaultMaxData)}.Marshal()
	sent := make(chan error, 1)
	go func() { sent <- (&Stream{ReadWriter: b}).Send(t.Context(), p) }()
	got, err := (&Stream{ReadWriter: a}).Receive(t.Context())
	if d := cmp.Diff(p, got); err != nil || d != "" {
		t.Errorf("%v %s", err, d)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
