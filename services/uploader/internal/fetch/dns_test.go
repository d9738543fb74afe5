package fetch

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"sori.internal/shared/event"
	"sori.internal/shared/source"
)

// resolver returns a resolver that uses a name server of the test. The first query for an IPv4
// address is answered with the first address, the second with the second, and so on. The last
// address answers all further queries.
func resolver(t *testing.T, addresses ...[4]byte) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0") //nolint:noctx // only a test uses it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			var m dnsmessage.Message
			if err != nil || m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			q := m.Questions[0]
			m.Response, m.RCode, m.Additionals = true, dnsmessage.RCodeSuccess, nil
			if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: addresses[0]},
				}}
				addresses = addresses[min(1, len(addresses)-1):]
			}
			if answer, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(answer, from)
			}
		}
	}()
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

// withResolver returns a client that uses the given resolver.
func withResolver(t *testing.T, o Options, r *net.Resolver) *Client {
	t.Helper()
	c := New(o)
	via, ok := c.http.Transport.(locationChecker)
	if !ok {
		t.Fatal("another transport")
	}
	via.DialContext = dialer{allowed: o.Allowed, resolver: r}.dial
	return c
}

// serveAt starts servers on 127.0.0.1 and 127.0.0.2, and returns the port of both.
func serveAt(t *testing.T, one, two http.HandlerFunc) string {
	t.Helper()
	for range 20 {
		a, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // only a test uses it
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(a.Addr().String())
		b, err := net.Listen("tcp", "127.0.0.2:"+port) //nolint:noctx // only a test uses it
		if err != nil {                                // another process uses the port: try another one
			_ = a.Close()
			continue
		}
		for l, h := range map[net.Listener]http.HandlerFunc{a: one, b: two} {
			s := &http.Server{Handler: h, ReadHeaderTimeout: 0} //nolint:gosec // only a test uses it
			go func() { _ = s.Serve(l) }()
			t.Cleanup(func() { _ = s.Close() })
		}
		return port
	}
	t.Fatal("no port is free at both addresses")
	return ""
}

func TestANameThatChangesItsAddressGainsNothing(t *testing.T) {
	t.Parallel()
	f := &file{content: content(1, 300_000), etag: `"v1"`, cuts: []int{100_000}}
	var reached atomic.Int64
	port := serveAt(t, f.serve, func(http.ResponseWriter, *http.Request) { reached.Add(1) })
	// 127.0.0.1 stands for a public address, and 127.0.0.2 for a private one, to which the name
	// resolves when the fetch is resumed.
	c := withResolver(t, loopback(t), resolver(t, [4]byte{127, 0, 0, 1}, [4]byte{127, 0, 0, 2}))
	o := fetchFrom(t, c, source.Source{URL: "http://rebind.test:" + port + "/a.wav"})
	if o.code() != event.CodeFetchRefused+" 0" || len(f.ranges) != 1 || reached.Load() > 0 {
		t.Errorf("%s: %d requests to the first address, %d to the private one", o.code(), len(f.ranges), reached.Load())
	}
}

func TestANameOfAPrivateAddressIsRefused(t *testing.T) {
	t.Parallel()
	for _, address := range [][4]byte{{127, 0, 0, 1}, {10, 0, 0, 1}, {169, 254, 169, 254}, {192, 168, 0, 1}, {0, 0, 0, 0}, {100, 64, 0, 1}} {
		c := withResolver(t, Options{Tries: 3, Idle: loopback(t).Idle}, resolver(t, address))
		o := fetchFrom(t, c, source.Source{URL: "http://private.test/a?sig=s3cret"})
		if o.code() != event.CodeFetchRefused+" 0" || len(o.failed) > 0 {
			t.Errorf("%v: %s %q", address, o.code(), o.failed)
		}
		if o.err != nil && !strings.Contains(o.err.Error(), "private.test") {
			t.Errorf("the failure does not name the host: %v", o.err)
		}
	}
}

func TestAHostThatIsListedMayHaveAnyAddress(t *testing.T) {
	t.Parallel()
	f := &file{content: content(1, 1000)}
	port := serveAt(t, f.serve, func(http.ResponseWriter, *http.Request) {})
	for setting, want := range map[string]string{
		"media.test:" + port: "", "media.test:*": "", "other.test:" + port: event.CodeFetchRefused + " 0", "media.test": event.CodeFetchRefused + " 0",
	} {
		o := Options{Allowed: allow(t, setting), MaxBytes: 1 << 20, Tries: 1, Idle: loopback(t).Idle}
		got := fetchFrom(t, withResolver(t, o, resolver(t, [4]byte{127, 0, 0, 1})), source.Source{URL: "http://media.test:" + port + "/"})
		if got.code() != want {
			t.Errorf("%s: %s", setting, got.code())
		}
	}
}
