package access

import (
	"errors"
	"fmt"
	"net"
	"net/url"

	"sori.internal/shared/config"
)

// MinSecret is the length of the shortest AUTH_JWT_SECRET, in bytes (RFC 7518, section 3.2).
const MinSecret = 32

// Config has the settings of authentication.
type Config struct {
	Disabled   bool          `env:"AUTH_DISABLED"`
	Issuer     string        `env:"OIDC_ISSUER"`
	Audience   string        `env:"OIDC_AUDIENCE"`
	Secret     config.Secret `env:"AUTH_JWT_SECRET"`
	APIKeys    bool          `env:"AUTH_API_KEYS"`
	RolesClaim string        `env:"AUTH_ROLES_CLAIM" envDefault:"roles"`
	AdminRole  string        `env:"AUTH_ADMIN_ROLE" envDefault:"sori-admin"`
}

// Enabled reports whether requests are authenticated.
func (c *Config) Enabled() bool { return c.Issuer != "" || c.Secret != "" || c.APIKeys }

// Check implements config.Checker.
func (c *Config) Check() error {
	var rules config.Rules
	n := len(c.Secret.Reveal())
	rules.Check(n == 0 || n >= MinSecret, fmt.Sprintf("AUTH_JWT_SECRET must have at least %d bytes", MinSecret))
	rules.Check(!c.Disabled || !c.Enabled(),
		"AUTH_DISABLED excludes OIDC_ISSUER, AUTH_JWT_SECRET and AUTH_API_KEYS: remove one or the other")
	rules.Check(c.Issuer == "" || SecureURL(c.Issuer), "OIDC_ISSUER must be an https URL, or an http URL of this machine")
	rules.Check(c.Issuer == "" || c.Audience != "",
		"OIDC_AUDIENCE is required with OIDC_ISSUER: it is what the provider's tokens for Sori name as aud")
	return rules.Err()
}

// CheckAddress returns a failure if requests are not authenticated, other machines can reach the
// address, and AUTH_DISABLED is not set.
func (c *Config) CheckAddress(addr string) error {
	if c.Enabled() || c.Disabled || isLoopback(addr) {
		return nil
	}
	return errors.New("HTTP_ADDR is not a loopback address, and requests are not authenticated: set OIDC_ISSUER and OIDC_AUDIENCE, " +
		"AUTH_JWT_SECRET, or AUTH_API_KEYS=true; or AUTH_DISABLED=true to let everybody do everything")
}

// isLoopback reports whether an address, host:port, can be reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return false
	}
	return host == "localhost" || net.ParseIP(host).IsLoopback()
}

// SecureURL reports whether responses from a URL are protected in transit: the scheme is https, or
// it is http and the host is this machine.
func SecureURL(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" {
		return false
	}
	host := u.Hostname()
	return u.Scheme == "https" || u.Scheme == "http" && (host == "localhost" || net.ParseIP(host).IsLoopback())
}
