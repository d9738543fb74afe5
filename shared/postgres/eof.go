package postgres

import (
	"errors"
	"io"
	"syscall"
)

// isEOF reports whether an error means that the connection was refused, or that it ended during a
// query.
func isEOF(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
