// Package initramfs builds the image with which rootlun boots: the binary as
// /init, the kernel modules that an iSCSI boot needs, and the files asked for.
// The same input gives the same bytes.
package initramfs

import "io"

// Config says what goes into an image.
type Config struct {
	Init     string   // the program that becomes /init
	Modules  string   // /lib/modules/VERSION; empty: none
	Drivers  []string // modules beside those that every image gets
	Files    []File
	Compress string // zstd, gzip or none
}

// File is a file or folder that goes into the image.
type File struct{ Source, Destination string }

// Build writes the image to w.
func Build(w io.Writer, cfg Config) error { panic("not written yet") }
