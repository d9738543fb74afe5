package tus

import (
	"errors"
	"io"

	"sori.internal/shared/fault"
)

// counted is the body of a request. It counts the bytes that were read.
type counted struct {
	io.ReadCloser
	bytes int64
}

// Read implements io.Reader.
func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.bytes += int64(n)
	return n, err //nolint:wrapcheck // the contract of io.Reader
}

// exact has the bytes of a request that fit into an upload of known length. tusd gives no more bytes
// to the store, and ends the body there. Read fails instead of ending if the request has more bytes.
type exact struct {
	io.Reader
	request *counted
	room    int64 // number of bytes that the upload lacked before the request
	length  int64 // length of the upload in bytes
}

// Read implements io.Reader.
func (e *exact) Read(p []byte) (int, error) {
	n, err := e.Reader.Read(p)
	if errors.Is(err, io.EOF) && e.request.bytes > e.room {
		return n, fault.ExceedsLimit("upload", e.length, nil)
	}
	return n, err //nolint:wrapcheck // the contract of io.Reader
}
