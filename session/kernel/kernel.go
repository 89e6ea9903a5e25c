// Package kernel speaks NETLINK_ISCSI to the kernel's open-iscsi transport
// class (include/scsi/iscsi_if.h, drivers/scsi/scsi_transport_iscsi.c), reads
// and writes the class's sysfs, and listens to the kernel's uevents. It knows
// nothing of the iSCSI protocol: PDUs are bytes here.
//
// A Netlink is the socket, shared by all sessions. A Conn is one connection of
// a session: the commands to it, and what the kernel says of it. A Sysfs is
// the folder where sysfs is mounted.
package kernel

import (
	"errors"
	"fmt"
)

// ErrLost says that the kernel, or a full queue here, dropped messages: what
// was awaited may be among them.
var ErrLost = errors.New("messages of the kernel were lost")

// OpError is a command that the kernel refused or that could not be given to
// it. Err is a unix.Errno when the kernel answered.
type OpError struct {
	Op  string // "BIND_CONN", "SET_PARAM TARGET_NAME"
	Err error
}

func (e *OpError) Error() string { return fmt.Sprintf("kernel: %s: %v", e.Op, e.Err) }

// Unwrap returns the cause.
func (e *OpError) Unwrap() error { return e.Err }
