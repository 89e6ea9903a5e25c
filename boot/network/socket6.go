package network

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket6 is a datagram socket of IPv6 that is bound to one NIC.
type socket6 struct {
	file  *os.File
	raw   syscall.RawConn
	index int
}

// openSocket6 opens a socket of that kind and protocol, bound to port unless it
// is 0. Close it.
func openSocket6(l link, kind, protocol, port int) (*socket6, error) {
	fd, err := unix.Socket(unix.AF_INET6, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket6{file: os.NewFile(uintptr(fd), "socket"), index: l.index}
	err = os.NewSyscallError("setsockopt", errors.Join(
		unix.BindToDevice(fd, l.name),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255), // RFC 4861, 4.1
	))
	if err == nil && port != 0 {
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
		err = os.NewSyscallError("bind", unix.Bind(fd, &unix.SockaddrInet6{Port: port}))
	}
	if err == nil {
		s.raw, err = s.file.SyscallConn()
	}
	if err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

func (s *socket6) Close() error { return s.file.Close() }

// send sends b to an address of the NIC's link.
func (s *socket6) send(b []byte, to netip.Addr, port int) error {
	sa := &unix.SockaddrInet6{Port: port, ZoneId: uint32(s.index), Addr: to.As16()}
	var err error
	waitErr := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, sa)
		return err != unix.EAGAIN
	})
	return errors.Join(waitErr, os.NewSyscallError("sendto", err))
}

// receive hands datagrams to accept until it takes one, or ctx ends.
func (s *socket6) receive(ctx context.Context, accept func([]byte) bool) error {
	if err := s.file.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = s.file.SetReadDeadline(time.Unix(1, 0)) // long ago
		close(ended)
	})
	defer func() {
		if !stop() {
			<-ended // it must not set the deadline of the next call
		}
	}()
	buf := make([]byte, maxMessage)
	for {
		var n int
		var err error
		waitErr := s.raw.Read(func(fd uintptr) bool {
			n, _, err = unix.Recvfrom(int(fd), buf, 0)
			return err != unix.EAGAIN
		})
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case waitErr != nil:
			return waitErr
		case err == unix.ENETDOWN || err == unix.EINTR:
			continue
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		}
		if accept(buf[:n]) {
			return nil
		}
	}
}
