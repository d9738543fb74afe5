package testkit

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
)

// Proxy stands between a service and a dependency, so that a test can take the
// dependency away, or hold it in the middle of a step.
type Proxy struct {
	// URL is what the service is given in place of the dependency's own.
	URL string

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	changed sync.Cond
	conns   map[net.Conn]struct{}
	cut     bool
	closed  bool
	limited bool
	budget  int64 // bytes that may still pass to the dependency, where limited
	held    chan struct{}
}

// Proxy makes a proxy to the dependency at a URL. It ends with the test.
func (k *Kit) Proxy(target string) *Proxy {
	k.t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		k.t.Fatal(err)
	}
	var listen net.ListenConfig
	listener, err := listen.Listen(k.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		k.t.Fatal(err)
	}
	p := &Proxy{target: u.Host, listener: listener, conns: map[net.Conn]struct{}{}}
	p.changed.L = &p.mu
	u.Host = listener.Addr().String()
	p.URL = u.String()
	p.wg.Go(p.accept)
	k.t.Cleanup(p.close)
	return p
}

// Cut breaks every connection and every one that is made until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.breakAll()
}

// Hold lets connections be made and n more bytes pass to the dependency, and then
// none until Restore or Cut.
// The channel is closed when the first byte is held back.
func (p *Proxy) Hold(n int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.limited, p.budget, p.held = false, true, n, make(chan struct{})
	return p.held
}

// Restore lets everything pass again.
func (p *Proxy) Restore() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.limited, p.held = false, false, nil
	p.changed.Broadcast()
}

func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.breakAll()
	p.mu.Unlock()
	_ = p.listener.Close()
	p.wg.Wait()
}

// breakAll is for callers that hold the lock.
func (p *Proxy) breakAll() {
	for c := range p.conns {
		_ = c.Close()
	}
	p.changed.Broadcast()
}

func (p *Proxy) accept() {
	for {
		near, err := p.listener.Accept()
		if err != nil {
			return
		}
		if !p.keep(near) {
			continue
		}
		p.wg.Go(func() { p.serve(near) })
	}
}

// keep registers a connection; where none may be made it closes it.
func (p *Proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		_ = c.Close()
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *Proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close()
	p.changed.Broadcast()
}

func (p *Proxy) serve(near net.Conn) {
	defer p.drop(near)
	var dial net.Dialer
	far, err := dial.DialContext(context.Background(), "tcp", p.target) // ends by itself, on this machine
	if err != nil || !p.keep(far) {
		return
	}
	defer p.drop(far)
	var wg sync.WaitGroup
	wg.Go(func() {
		_, _ = io.Copy(near, far)
		p.drop(near)
	})
	_, _ = io.Copy(throttled{p, near, far}, near)
	p.drop(far)
	wg.Wait()
}

// throttled writes to the dependency what the proxy lets pass.
type throttled struct {
	p         *Proxy
	near, far net.Conn
}

// Write implements io.Writer.
func (w throttled) Write(b []byte) (written int, err error) {
	for written < len(b) {
		n := w.p.spend(w.near, len(b)-written)
		if n == 0 {
			return written, net.ErrClosed
		}
		m, err := w.far.Write(b[written : written+n])
		written += m
		if err != nil {
			return written, err
		}
	}
	return written, nil
}

// spend waits until some of n bytes may pass and returns how many; 0 where the
// connection has ended.
func (p *Proxy) spend(conn net.Conn, n int) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if _, open := p.conns[conn]; !open || p.cut || p.closed {
			return 0
		}
		if !p.limited {
			return n
		}
		if p.budget > 0 {
			n = int(min(int64(n), p.budget))
			p.budget -= int64(n)
			return n
		}
		if p.held != nil {
			close(p.held)
			p.held = nil
		}
		p.changed.Wait()
	}
}
