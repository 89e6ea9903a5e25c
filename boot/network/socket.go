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

// socket is a datagram socket that is bound to one NIC.
type socket struct {
	file *os.File
	raw  syscall.RawConn
}

// newSocket opens a socket, and bind binds it. Close it.
func newSocket(family, kind, protocol int, bind func(fd int) error) (*socket, error) {
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, protocol)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "socket")}
	if err = os.NewSyscallError("bind", bind(fd)); err == nil {
		s.raw, err = s.file.SyscallConn()
	}
	if err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

// Close closes the socket.
func (s *socket) Close() error { return s.file.Close() }

func (s *socket) send(b []byte, to unix.Sockaddr) error {
	var err error
	waitErr := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), b, 0, to)
		return err != unix.EAGAIN
	})
	return errors.Join(waitErr, os.NewSyscallError("sendto", err))
}

// receive hands datagrams to accept until it takes one, or ctx ends.
func (s *socket) receive(ctx context.Context, accept func([]byte) bool) error {
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
		case err == unix.ENETDOWN || err == unix.EINTR: // the link was down for a moment
			continue
		case err != nil:
			return os.NewSyscallError("recvfrom", err)
		}
		if accept(buf[:n]) {
			return nil
		}
	}
}

// poll returns a datagram of IPv6 that is there already, and who sent it, or nil.
func (s *socket) poll() (b []byte, from netip.Addr) {
	buf := make([]byte, maxMessage)
	_ = s.raw.Read(func(fd uintptr) bool {
		n, sa, err := unix.Recvfrom(int(fd), buf, 0)
		if sa, ok := sa.(*unix.SockaddrInet6); ok && err == nil {
			b, from = buf[:n], netip.AddrFrom16(sa.Addr)
		}
		return true
	})
	return b, from
}

// newSocket6 opens a socket of IPv6 on a NIC, at port unless it is 0.
func newSocket6(l *link, kind, protocol, port int) (*socket, error) {
	return newSocket(unix.AF_INET6, kind, protocol, func(fd int) error {
		err := errors.Join(unix.BindToDevice(fd, l.name),
			unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, 255)) // RFC 4861, 4.1
		if port != 0 {
			err = errors.Join(err, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1),
				unix.Bind(fd, &unix.SockaddrInet6{Port: port}))
		}
		return err
	})
}

// linkAddr is an address of a link, for send.
func linkAddr(l *link, a netip.Addr, port int) unix.Sockaddr {
	return &unix.SockaddrInet6{Port: port, ZoneId: uint32(l.index), Addr: a.As16()}
}
