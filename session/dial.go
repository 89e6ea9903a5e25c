package session

import (
	"context"
	"net/netip"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// dial opens a TCP connection for the kernel to use. It is a plain socket with
// a descriptor that can be handed over, and plain TCP, never MPTCP. With nic it
// leaves by that one alone, which needs CAP_NET_RAW.
func dial(ctx context.Context, to netip.AddrPort, nic string, window int) (*os.File, error) {
	addr := to.Addr().Unmap()
	family := unix.AF_INET6
	if addr.Is4() {
		family = unix.AF_INET
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	sock := os.NewFile(uintptr(fd), "tcp") // non-blocking: the runtime's poller waits on it
	if err := connect(ctx, sock, fd, netip.AddrPortFrom(addr, to.Port()), nic, window); err != nil {
		sock.Close()
		return nil, explain(err)
	}
	return sock, nil
}

// connect sets the socket fd of sock up and connects it.
func connect(ctx context.Context, sock *os.File, fd int, to netip.AddrPort, nic string, window int) error {
	// Neither is worth failing for.
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if window > 0 { // before connect: it decides the window scale
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, window)
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, window)
	}
	if nic != "" {
		if err := unix.BindToDevice(fd, nic); err != nil {
			return os.NewSyscallError("bind to "+nic, err)
		}
	}
	remote, err := sockaddr(fd, to)
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, remote); err != nil && err != unix.EINPROGRESS && err != unix.EINTR {
		return err
	}
	return connected(ctx, sock)
}

// connected waits until the connection stands, has failed, or ctx ends.
func connected(ctx context.Context, sock *os.File) error {
	raw, err := sock.SyscallConn()
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = sock.SetWriteDeadline(time.Unix(1, 0)) })
	defer stop()
	var failure error
	err = raw.Write(func(fd uintptr) (done bool) {
		if _, err := unix.Getpeername(int(fd)); err == nil {
			return true
		}
		code, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && code != 0 {
			err = unix.Errno(code)
		}
		failure = err
		return err != nil
	})
	switch {
	case failure != nil:
		return failure
	case ctx.Err() != nil: // also when it has just been connected: the deadline stays set
		return &awaited{"no answer to the TCP handshake", ctx.Err()}
	}
	return err
}

// sockaddr turns an address into the kernel's; a zone is an interface's name
// or number.
func sockaddr(fd int, a netip.AddrPort) (unix.Sockaddr, error) {
	addr := a.Addr()
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: int(a.Port())}, nil
	}
	sa := &unix.SockaddrInet6{Addr: addr.As16(), Port: int(a.Port())}
	zone := addr.Zone()
	if zone == "" {
		return sa, nil
	}
	if n, err := strconv.ParseUint(zone, 10, 32); err == nil {
		sa.ZoneId = uint32(n)
		return sa, nil
	}
	req, err := unix.NewIfreq(zone)
	if err == nil {
		err = unix.IoctlIfreq(fd, unix.SIOCGIFINDEX, req)
	}
	if err != nil {
		return nil, os.NewSyscallError("interface "+zone+" of "+addr.String(), err)
	}
	sa.ZoneId = req.Uint32()
	return sa, nil
}
