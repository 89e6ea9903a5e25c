// Package kernel speaks NETLINK_ISCSI to the kernel's open-iscsi transport
// class (include/scsi/iscsi_if.h, drivers/scsi/scsi_transport_iscsi.c), reads
// and writes the class's sysfs, and listens to the kernel's uevents. It knows
// nothing of the iSCSI protocol: PDUs are bytes here.
package kernel

import "context"

// Uevent is one message of NETLINK_KOBJECT_UEVENT (lib/kobject_uevent.c).
type Uevent struct {
	Action  string            // "add", "remove", "change", …
	DevPath string            // below /sys, with a leading slash
	Env     map[string]string // SUBSYSTEM, MODALIAS, DEVNAME, …
}

// Uevents is a subscription to the kernel's uevents.
type Uevents struct{}

// ListenUevents subscribes. Events from then on are kept until read.
func ListenUevents() (*Uevents, error) { panic("not written yet") }

// Next waits for the next event, or returns ctx's error. Lost is true when the
// kernel dropped events since the last call (ENOBUFS): look at sysfs again.
func (u *Uevents) Next(ctx context.Context) (ev Uevent, lost bool, err error) {
	panic("not written yet")
}

// Close ends the subscription.
func (u *Uevents) Close() error { panic("not written yet") }
