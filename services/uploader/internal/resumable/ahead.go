package resumable

import "io"

// pieceSize is the size of the pieces in which a body is read, in bytes.
const pieceSize = 64 << 10

// ahead reads a body in a goroutine, so that a request can do something else while its client is
// silent. It is at most two pieces ahead.
type ahead struct {
	pieces chan piece
	used   chan []byte // buffers for further reads
	stop   chan struct{}
	ended  chan struct{}
}

// piece is what one read has returned.
type piece struct {
	block []byte // the buffer that bytes points into
	bytes []byte
	err   error
}

func readAhead(body io.Reader) *ahead {
	a := &ahead{pieces: make(chan piece), used: make(chan []byte, 2), stop: make(chan struct{}), ended: make(chan struct{})}
	for range cap(a.used) {
		a.used <- make([]byte, pieceSize)
	}
	go a.run(body)
	return a
}

func (a *ahead) run(body io.Reader) {
	defer close(a.ended)
	for {
		var p piece
		select {
		case p.block = <-a.used:
		case <-a.stop:
			return
		}
		var n int
		n, p.err = body.Read(p.block)
		p.bytes = p.block[:n]
		select {
		case a.pieces <- p:
		case <-a.stop:
			return
		}
		if p.err != nil {
			return
		}
	}
}

// close ends the reading. It waits for the end of a read.
func (a *ahead) close() {
	close(a.stop)
	<-a.ended
}
