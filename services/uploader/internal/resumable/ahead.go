package resumable

import "io"

// pieceSize is the largest number of bytes that ahead reads at a time.
const pieceSize = 64 << 10

// ahead reads a body in a goroutine, so that its request can do other work while the client sends
// nothing. It reads at most two pieces ahead.
type ahead struct {
	pieces chan piece
	used   chan []byte // buffers of pieces that the request has finished with
	stop   chan struct{}
	ended  chan struct{}
}

// piece is the result of one read.
type piece struct {
	block []byte // the buffer that contains bytes
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

// close stops the goroutine, and waits until a running read returns.
func (a *ahead) close() {
	close(a.stop)
	<-a.ended
}
