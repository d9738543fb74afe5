package testkit

import (
	"context"
	"io"
	"net"
	"net/url"
	"sync"
)

// Proxy forwards connections from a service to a dependency. A test can make the dependency
// unavailable, or hold its traffic.
type Proxy struct {
	// URL is the URL of the dependency with the address of the proxy.
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
	budget  int64 // number of bytes that may still be forwarded to the dependency, if limited is true
	held    chan struct{}
}

// Proxy starts a proxy to the dependency at a URL. It is stopped when the test ends.
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

// Cut closes every connection. New connections are closed, too, until Restore.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.breakAll()
}

// Hold accepts connections and forwards n more bytes to the dependency, then no more until Restore
// or Cut. The returned channel is closed when the proxy withholds the first byte.
func (p *Proxy) Hold(n int64) <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.limited, p.budget, p.held = false, true, n, make(chan struct{})
	return p.held
}

// Restore forwards all traffic again.
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

// breakAll closes every connection. The caller must hold the lock.
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

// keep registers a connection, or closes it if the proxy is cut.
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
	far, err := dial.DialContext(context.Background(), "tcp", p.target) // the target is on this machine: dialing fails or succeeds at once
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

// throttled writes to the dependency, limited by the budget of the proxy.
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

// spend waits until some of n bytes may be forwarded, and returns their number, or 0 if the
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
