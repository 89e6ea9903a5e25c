package initramfs

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// compressor returns a writer that compresses to w; its Close does not close w.
func compressor(w io.Writer, method string) (io.WriteCloser, error) {
	switch method {
	case "zstd":
		// 8 MiB is the largest window that RFC 8878, 3.1.1.1.2 lets every
		// decoder support. One goroutine keeps the bytes the same everywhere.
		z, err := zstd.NewWriter(w,
			zstd.WithEncoderLevel(zstd.SpeedBestCompression),
			zstd.WithWindowSize(8<<20),
			zstd.WithEncoderConcurrency(1))
		if err != nil {
			return nil, err
		}
		return zstdBlocks{bufio.NewWriterSize(blockWriter{z}, blockSize), z}, nil
	case "gzip":
		return gzip.NewWriterLevel(w, gzip.BestCompression)
	case "none":
		return nopCloser{w}, nil
	}
	return nil, fmt.Errorf("unknown compression %q: want zstd, gzip or none", method)
}

// blockSize is a zstd block's content in bytes. The encoder's own blocks, four
// times as large, span ELF sections that share no statistics: 2 % worse.
const blockSize = 32 << 10

// zstdBlocks ends a block after each blockSize bytes.
type zstdBlocks struct {
	*bufio.Writer
	z *zstd.Encoder
}

func (b zstdBlocks) Close() error {
	return errors.Join(b.Writer.Flush(), b.z.Close())
}

// blockWriter makes a block of each write.
type blockWriter struct{ z *zstd.Encoder }

func (b blockWriter) Write(p []byte) (int, error) {
	n, err := b.z.Write(p)
	if err != nil {
		return n, err
	}
	return n, b.z.Flush()
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// maxModule bounds a module's uncompressed size, in bytes.
const maxModule = 512 << 20

// readModule returns a module file's content, uncompressed by its name's end.
func readModule(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = bufio.NewReader(f)
	switch filepath.Ext(path) {
	case ".gz":
		r, err = gzip.NewReader(r)
	case ".xz":
		r, err = xz.NewReader(r)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(r, zstd.WithDecoderConcurrency(1)); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, fmt.Errorf("uncompress %s: %w", path, err)
	}
	data, err := io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(data) > maxModule {
		err = errors.New("larger than 512 MiB")
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
