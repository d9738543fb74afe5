// Package source fetches the files that a request names into temporary files.
//
// It supports http and https URLs, which include presigned URLs, and s3://bucket/key with the credentials in Settings.
// Every fetch is limited in bytes and time. After a transport error, or a response of a busy server, the fetch is tried
// again. No error contains the path or the query of a URL: a presigned URL is a secret, and errors are sent to the
// caller and logged.
//
// The threat is server-side request forgery: a caller can make this server connect to any host, including hosts inside
// its network, unless Settings.Hosts lists the hosts that are allowed. Redirects to another host are never followed.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"sori.internal/shared/wait"
)

// Reasons why a server or a URL makes a fetch fail. After an exported one, the fetch is not tried again.
var (
	ErrURL      = errors.New("unusable url")
	ErrTooLarge = errors.New("file too large")
	ErrRefused  = errors.New("file refused")
	errBusy     = errors.New("server busy")
)

// Settings limit a Fetcher and give it access to S3.
type Settings struct {
	Timeout   time.Duration // time limit of one attempt, body included
	Attempts  int           // largest number of attempts of a fetch, at least 1
	Backoff   time.Duration // delay before the second attempt, doubled for each further one
	TempDir   string        // folder of the temporary files; if empty, the system's temporary folder
	Hosts     []string      // allowed hosts (host or host:port) of http and https URLs; if empty, all hosts
	Endpoint  string        // host:port or URL of the S3 server; if empty, AWS
	Region    string
	AccessKey string
	SecretKey string
}

// Fetcher fetches files. It is safe for concurrent use.
type Fetcher struct {
	settings Settings
	client   *http.Client
	s3       *minio.Core
}

// New returns a fetcher. It connects to no server.
func New(settings Settings) (*Fetcher, error) {
	host, secure := settings.Endpoint, true
	if u, err := url.Parse(settings.Endpoint); err == nil && u.Host != "" {
		host, secure = u.Host, u.Scheme != "http"
	}
	if host == "" {
		host = "s3.amazonaws.com"
	}
	s3, err := minio.NewCore(host, &minio.Options{
		Creds: credentials.NewStaticV4(settings.AccessKey, settings.SecretKey, ""), Secure: secure, Region: settings.Region, MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("set up s3 at %s: %w", host, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() // documented type
	transport.MaxIdleConnsPerHost = 32
	client := &http.Client{Transport: transport, CheckRedirect: sameHost}
	return &Fetcher{settings: settings, client: client, s3: s3}, nil
}

// maxRedirects is the largest number of redirects in one attempt.
const maxRedirects = 5

// sameHost follows a redirect only to the host and the scheme of the first URL. A host that a caller may use must not be
// able to redirect to another host.
func sameHost(next *http.Request, via []*http.Request) error {
	first := via[0].URL
	if next.URL.Host != first.Host || next.URL.Scheme != first.Scheme || len(via) > maxRedirects {
		return fmt.Errorf("redirect: %w", ErrRefused)
	}
	return nil
}

// checkHost returns an error if Settings.Hosts does not allow the host of a URL.
func (f *Fetcher) checkHost(u *url.URL) error {
	hosts := f.settings.Hosts
	if len(hosts) == 0 || slices.Contains(hosts, u.Host) || slices.Contains(hosts, u.Hostname()) && u.Port() == "" {
		return nil
	}
	return fmt.Errorf("host not allowed: %w", ErrURL)
}

// Close closes idle connections.
func (f *Fetcher) Close() { f.client.CloseIdleConnections() }

// Check returns an error unless a reference is an s3 URL with a bucket and a key, or an http or https URL with a host.
func Check(reference string) error {
	if _, _, ok, err := splitS3(reference); ok {
		return err
	}
	_, err := parseHTTP(reference)
	return err
}

// splitS3 splits s3://bucket/key. ok is false if reference is not an s3 URL. The key is used unchanged, as by the usual
// S3 tools: it is not a URL path, and may contain % and ?.
func splitS3(reference string) (bucket, key string, ok bool, err error) {
	rest, ok := strings.CutPrefix(reference, "s3://")
	if !ok {
		return "", "", false, nil
	}
	bucket, key, _ = strings.Cut(rest, "/")
	if bucket == "" || key == "" {
		return "", "", true, fmt.Errorf("s3 url without bucket or key: %w", ErrURL)
	}
	return bucket, key, true, nil
}

func parseHTTP(reference string) (*url.URL, error) {
	u, err := url.Parse(reference)
	if err != nil {
		return nil, fmt.Errorf("parse url: %w", ErrURL) // err is not wrapped, since its text contains the URL
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return nil, fmt.Errorf("url scheme %.16q: %w", u.Scheme, ErrURL)
	}
	if u.Host == "" {
		return nil, fmt.Errorf("url without host: %w", ErrURL)
	}
	return u, nil
}

// File is a fetched file in temporary storage.
type File struct {
	*os.File
	Size int64
}

// Close closes and removes the file.
func (f *File) Close() error {
	if err := errors.Join(f.File.Close(), os.Remove(f.Name())); err != nil {
		return fmt.Errorf("remove temporary file: %w", err)
	}
	return nil
}

// temporary creates an empty temporary file.
func (f *Fetcher) temporary() (*os.File, error) {
	tmp, err := os.CreateTemp(f.settings.TempDir, "analyzer-*")
	if err != nil {
		return nil, fmt.Errorf("create temporary file: %w", err)
	}
	return tmp, nil
}

// CheckStorage checks whether temporary files can be written, without which no analysis can succeed. It creates a
// temporary file, writes to it and removes it.
func (f *Fetcher) CheckStorage() error {
	tmp, err := f.temporary()
	if err != nil {
		return err
	}
	if _, err = tmp.WriteString("x"); err != nil {
		err = fmt.Errorf("write temporary file: %w", err)
	}
	return errors.Join(err, (&File{File: tmp}).Close())
}

// File fetches the file that a reference names into a temporary file, which the caller must close. It fails with
// ErrTooLarge if the file has more than limit bytes.
func (f *Fetcher) File(ctx context.Context, reference string, limit int64) (*File, error) {
	tmp, err := f.temporary()
	if err != nil {
		return nil, err
	}
	file := &File{File: tmp}
	err = f.retry(ctx, reference, limit, func(body io.Reader) error {
		if _, err := tmp.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("rewind temporary file: %w", err)
		}
		if err := tmp.Truncate(0); err != nil {
			return fmt.Errorf("empty temporary file: %w", err)
		}
		var err error
		file.Size, err = io.Copy(tmp, body)
		return err // retry wraps
	})
	if err == nil {
		_, err = tmp.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// retry opens the reference and calls use with the body. After an error that may be temporary it tries again.
func (f *Fetcher) retry(ctx context.Context, reference string, limit int64, use func(io.Reader) error) error {
	delay := f.settings.Backoff
	for attempt := 1; ; attempt++ {
		err := f.once(ctx, reference, limit, use)
		final := err == nil || errors.Is(err, ErrURL) || errors.Is(err, ErrTooLarge) || errors.Is(err, ErrRefused)
		if final || attempt >= f.settings.Attempts || ctx.Err() != nil {
			return err
		}
		if wait.For(ctx, delay) != nil {
			return err
		}
		delay *= 2
	}
}

func (f *Fetcher) once(ctx context.Context, reference string, limit int64, use func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.settings.Timeout)
	defer cancel()
	body, size, host, err := f.open(ctx, reference)
	if err != nil {
		return fmt.Errorf("fetch from %s: %w", host, err)
	}
	defer body.Close()
	if size > limit {
		return fmt.Errorf("fetch %d bytes from %s: %w (limit %d)", size, host, ErrTooLarge, limit)
	}
	counted := &io.LimitedReader{R: body, N: limit + 1}
	if err := use(counted); err != nil {
		return fmt.Errorf("read from %s: %w", host, err)
	}
	if counted.N <= 0 {
		return fmt.Errorf("fetch from %s: %w (limit %d)", host, ErrTooLarge, limit)
	}
	return nil
}

// open starts to fetch a reference. size is -1 if it is not known. host is the host or the bucket, for error messages.
func (f *Fetcher) open(ctx context.Context, reference string) (body io.ReadCloser, size int64, host string, err error) {
	bucket, key, ok, err := splitS3(reference)
	if err != nil {
		return nil, 0, "s3", err
	}
	if ok {
		body, size, err = f.openS3(ctx, bucket, key)
		return body, size, bucket, err
	}
	u, err := parseHTTP(reference)
	if err != nil {
		return nil, 0, "url", err
	}
	if err := f.checkHost(u); err != nil {
		return nil, 0, u.Host, err
	}
	body, size, err = f.openHTTP(ctx, u)
	return body, size, u.Host, err
}

func (f *Fetcher) openHTTP(ctx context.Context, u *url.URL) (io.ReadCloser, int64, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, 0, fmt.Errorf("build request: %w", ErrURL)
	}
	reply, err := f.client.Do(req)
	if err != nil {
		return nil, 0, fmt.Errorf("get: %w", withoutURL(err))
	}
	if reply.StatusCode == http.StatusOK {
		return reply.Body, reply.ContentLength, nil
	}
	_ = reply.Body.Close()
	return nil, 0, refusal(reply.StatusCode)
}

func (f *Fetcher) openS3(ctx context.Context, bucket, key string) (io.ReadCloser, int64, error) {
	body, info, _, err := f.s3.GetObject(ctx, bucket, key, minio.GetObjectOptions{})
	if err == nil {
		return body, info.Size, nil
	}
	if reply := minio.ToErrorResponse(err); reply.StatusCode != 0 {
		return nil, 0, fmt.Errorf("s3 %.40q: %w", reply.Code, refusal(reply.StatusCode))
	}
	return nil, 0, fmt.Errorf("get object: %w", withoutURL(err))
}

// withoutURL returns the cause of a *url.Error, whose own text contains the URL. It returns any other error unchanged.
func withoutURL(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

// refusal returns the error for an HTTP status: errBusy if a later attempt may succeed, otherwise ErrRefused.
func refusal(status int) error {
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status == http.StatusTooManyRequests, status >= 500:
		return fmt.Errorf("status %d: %w", status, errBusy)
	}
	return fmt.Errorf("status %d: %w", status, ErrRefused)
}
