package natsauth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/natsauth"
	"sori.internal/shared/bus"
	"sori.internal/shared/config"
)

// authority signs certificates for a test. Its files are in dir.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign("ca", &x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes a certificate and its key as NAME.pem and NAME.key.
func (a *authority) sign(name string, template *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template.SerialNumber, template.Subject = big.NewInt(time.Now().UnixNano()), pkix.Name{CommonName: name}
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

// serveTLS starts a server that has a certificate and demands one of its clients.
func (a *authority) serveTLS() string {
	a.t.Helper()
	a.sign("server", &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	cert, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	opts, err := server.ProcessConfigFile("../../nats/nats.conf")
	if err != nil {
		a.t.Fatal(err)
	}
	opts.Host, opts.Port, opts.HTTPPort, opts.StoreDir, opts.NoSigs = "127.0.0.1", server.RANDOM_PORT, 0, a.t.TempDir(), true
	opts.TLS, opts.TLSVerify, opts.TLSTimeout = true, true, 10
	opts.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	s, err := server.NewServer(opts)
	if err != nil {
		a.t.Fatal(err)
	}
	s.Start()
	a.t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		a.t.Fatal("the server does not start")
	}
	return "nats://" + s.Addr().String()
}

// ping connects a bus with these settings to NATS, and returns the error of the connection or of a
// request.
func ping(t *testing.T, settings map[string]string) error {
	t.Helper()
	var cfg bus.Config
	if err := config.Load(config.Map(settings), &cfg); err != nil {
		return err
	}
	b, err := bus.Open(cfg, natsauth.Gateway, zerolog.Nop())
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }()
	return b.Ping(t.Context())
}

func TestAServiceConnectsWithTLSAndACertificate(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	url := a.serveTLS()
	a.sign("client", &x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	right := map[string]string{
		"NATS_URL": url, "NATS_USER": "gateway", "NATS_PASSWORD": password,
		"NATS_CA": a.file("ca.pem"), "NATS_CERT": a.file("client.pem"), "NATS_KEY": a.file("client.key"),
	}
	if err := ping(t, right); err != nil {
		t.Fatal(err)
	}
	stranger := newAuthority(t)
	for what, change := range map[string]map[string]string{
		"another authority":      {"NATS_CA": stranger.file("ca.pem")},
		"no certificate":         {"NATS_CERT": "", "NATS_KEY": ""},
		"another's certificate":  {"NATS_CERT": stranger.file("ca.pem"), "NATS_KEY": stranger.file("ca.key")},
		"a server without TLS":   {"NATS_URL": serve(t)},
		"a certificate, no key":  {"NATS_KEY": ""},
		"no file of authorities": {"NATS_CA": a.file("missing.pem")},
		"no file of credentials": {"NATS_USER": "", "NATS_PASSWORD": "", "NATS_CREDS": a.file("missing.creds")},
		"a user and credentials": {"NATS_CREDS": a.file("ca.pem")},
		"a user, no password":    {"NATS_PASSWORD": ""},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			settings := maps.Clone(right)
			maps.Copy(settings, change)
			err := ping(t, settings)
			if err == nil {
				t.Error("it connects")
			} else if strings.Contains(err.Error(), password) {
				t.Errorf("the error has the password: %v", err)
			}
		})
	}
}

func TestTheUserInTheSettingsReplacesTheOneInTheURL(t *testing.T) {
	t.Parallel()
	url := strings.Replace(serve(t), "nats://", "nats://admin:wrong@", 1)
	if err := ping(t, map[string]string{"NATS_URL": url + "," + url, "NATS_USER": "gateway", "NATS_PASSWORD": password}); err != nil {
		t.Error(err)
	}
	if err := ping(t, map[string]string{"NATS_URL": url}); err == nil {
		t.Error("the user in the URL is not used")
	}
}
