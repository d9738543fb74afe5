package bus

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/nats-io/nats.go"

	"sori.internal/shared/config"
	"sori.internal/shared/event"
)

// Connection describes how a client connects to NATS, and how it authenticates: by a user name and
// a password, by a credentials file, or by a certificate. A user in the URL is used only if neither
// User nor Creds is set.
type Connection struct {
	URL       config.Secret   `env:"NATS_URL,required"`
	User      string          `env:"NATS_USER"`
	Password  config.Secret   `env:"NATS_PASSWORD"`
	Creds     string          `env:"NATS_CREDS"`
	CA        string          `env:"NATS_CA"`
	Cert      string          `env:"NATS_CERT"`
	Key       string          `env:"NATS_KEY"`
	Namespace event.Namespace `env:"NATS_NAMESPACE"`
}

// Check implements config.Checker.
func (c *Connection) Check() error {
	var rules config.Rules
	rules.Check((c.User == "") == (c.Password == ""), "NATS_USER and NATS_PASSWORD must be set together")
	rules.Check(c.User == "" || c.Creds == "", "NATS_USER and NATS_CREDS exclude each other")
	rules.Check((c.Cert == "") == (c.Key == ""), "NATS_CERT and NATS_KEY must be set together")
	return errors.Join(c.Namespace.Check(), rules.Err())
}

// Dial connects to NATS under the name of a client. The options determine whether Dial fails or
// retries in the background while the server is unavailable.
func (c *Connection) Dial(name string, options ...nats.Option) (*nats.Conn, error) {
	own, err := c.options(name)
	if err != nil {
		return nil, err
	}
	nc, err := nats.Connect(c.servers(), append(own, options...)...)
	if _, quoted := errors.AsType[*url.Error](err); quoted {
		return nil, errors.New("NATS_URL is not a valid URL") // the cause is left out: it contains the URL with its password
	}
	return nc, err
}

// servers returns the URLs of the servers. If NATS_USER or NATS_CREDS is set, it removes the user
// and the password from each URL, since the library would use them instead of that setting.
func (c *Connection) servers() string {
	if c.User == "" && c.Creds == "" {
		return c.URL.Reveal()
	}
	urls := strings.Split(c.URL.Reveal(), ",")
	for i, u := range urls {
		if at := strings.LastIndex(u, "@"); at >= 0 {
			scheme := ""
			if end := strings.Index(u, "://"); end >= 0 { // the client library also accepts a URL without a scheme
				scheme = u[:end+len("://")]
			}
			urls[i] = scheme + u[at+1:]
		}
	}
	return strings.Join(urls, ",")
}

// InboxPrefix returns the prefix of the subjects on which a client receives responses. Each client
// has a prefix of its own, so that the server can forbid it to read the responses to others.
func (c *Connection) InboxPrefix(name string) string {
	return nats.InboxPrefix + c.Namespace.Subject(name)
}

func (c *Connection) options(name string) ([]nats.Option, error) {
	options := []nats.Option{nats.Name(name), nats.CustomInboxPrefix(c.InboxPrefix(name))}
	if c.User != "" {
		options = append(options, nats.UserInfo(c.User, c.Password.Reveal()))
	}
	if c.Creds != "" {
		// The client library opens the file only when it connects, and would repeat a failed
		// attempt for ever. So an unreadable file is reported here.
		if err := readable("NATS_CREDS", c.Creds); err != nil {
			return nil, err
		}
		options = append(options, nats.UserCredentials(c.Creds))
	}
	if c.CA != "" { // with a CA, a server without TLS is refused
		if err := readable("NATS_CA", c.CA); err != nil {
			return nil, err
		}
		options = append(options, nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		options = append(options, nats.ClientCert(c.Cert, c.Key))
	}
	return options, nil
}

// readable returns an error that names the setting if its file cannot be read.
func readable(setting, file string) error {
	if _, err := os.ReadFile(file); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}
