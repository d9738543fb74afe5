package stack_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"github.com/rs/zerolog"

	"sori.internal/infra/internal/stack"
	"sori.internal/infra/internal/stack/proc"
)

func s3Settings(dir string) stack.S3Settings {
	return stack.S3Settings{Dir: dir, AccessKey: "access", SecretKey: "secret", Region: "us-east-1"}
}

func startS3(tb testing.TB, set stack.S3Settings) *stack.S3Server {
	tb.Helper()
	srv, err := stack.StartS3(testContext(tb), proc.Port{}, set, zerolog.Nop())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = srv.Stop(context.WithoutCancel(tb.Context())) })
	return srv
}

func client(tb testing.TB, srv *stack.S3Server, secret string) *minio.Client {
	tb.Helper()
	c, err := minio.New(strings.TrimPrefix(srv.Endpoint(), "http://"), &minio.Options{
		Creds: credentials.NewStaticV4("access", secret, ""), Region: "us-east-1", MaxRetries: 1,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func newBucket(tb testing.TB, c *minio.Client) {
	tb.Helper()
	if err := c.MakeBucket(testContext(tb), "audio", minio.MakeBucketOptions{}); err != nil {
		tb.Fatal(err)
	}
}

func roundTrip(t *testing.T, c *minio.Client, key string, body []byte, opts minio.PutObjectOptions) {
	t.Helper()
	opts.ContentType = "audio/flac"
	if _, err := c.PutObject(testContext(t), "audio", key, bytes.NewReader(body), int64(len(body)), opts); err != nil {
		t.Fatal(err)
	}
	o, err := c.GetObject(testContext(t), "audio", key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	got, err := io.ReadAll(o)
	if err != nil || !bytes.Equal(got, body) {
		t.Errorf("%s: got %d bytes, %v; want the %d that were put", key, len(got), err, len(body))
	}
	if info, err := o.Stat(); err != nil || info.ContentType != "audio/flac" {
		t.Errorf("%s: content type = %q, %v", key, info.ContentType, err)
	}
}

func TestObjectsSmallAndInParts(t *testing.T) {
	t.Parallel()
	c := client(t, startS3(t, s3Settings(t.TempDir())), "secret")
	newBucket(t, c)
	body := make([]byte, 12<<20)
	if _, err := rand.Read(body); err != nil {
		t.Fatal(err)
	}
	roundTrip(t, c, "small", body[:1000], minio.PutObjectOptions{})
	roundTrip(t, c, "deep/er/one", body[:1000], minio.PutObjectOptions{})
	roundTrip(t, c, "parts", body, minio.PutObjectOptions{PartSize: 5 << 20})
}

func TestMetadataWithoutExtendedAttributes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "meta"), 0o700); err != nil { // a start without extended attributes creates this folder
		t.Fatal(err)
	}
	first := startS3(t, s3Settings(dir))
	c := client(t, first, "secret")
	newBucket(t, c)
	roundTrip(t, c, "one", []byte("x"), minio.PutObjectOptions{})
	if left, err := os.ReadDir(filepath.Join(dir, "meta", "audio")); err != nil || len(left) == 0 {
		t.Errorf("metadata folder = %v, %v; want it in use", left, err)
	}
	if err := first.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	info, err := client(t, startS3(t, s3Settings(dir)), "secret").StatObject(testContext(t), "audio", "one", minio.StatObjectOptions{})
	if err != nil || info.ContentType != "audio/flac" {
		t.Errorf("after a restart: %q, %v", info.ContentType, err)
	}
}

// In each case but the first, the client ends its direction of the connection before it has sent the whole body. It
// still reads the answer.
func TestAPartWhoseRequestBreaksOffIsNotKept(t *testing.T) {
	t.Parallel()
	srv := startS3(t, s3Settings(t.TempDir()))
	c := client(t, srv, "secret")
	newBucket(t, c)
	core := minio.Core{Client: c}
	const size = 1 << 20
	for _, arrives := range []int{size, 1000, size / 2, size - 1} {
		key := fmt.Sprint(arrives)
		id, err := core.NewMultipartUpload(testContext(t), "audio", key, minio.PutObjectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		link, err := c.Presign(testContext(t), http.MethodPut, "audio", key, time.Minute, url.Values{"uploadId": {id}, "partNumber": {"1"}})
		if err != nil {
			t.Fatal(err)
		}
		status := put(t, link, size, make([]byte, arrives))
		found, err := core.ListObjectParts(testContext(t), "audio", key, id, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		if kept := len(found.ObjectParts) == 1; kept != (arrives == size) || kept != (status == http.StatusOK) {
			t.Errorf("%d of %d bytes: status %d, the server has %+v", arrives, size, status, found.ObjectParts)
		}
	}
}

// put sends a PUT request with a Content-Length of size and the given body, and closes the write side of the
// connection. It returns the status of the answer.
func put(t *testing.T, to *url.URL, size int, body []byte) int {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(testContext(t), "tcp", to.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", to.RequestURI(), to.Host, size, body)
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil { //nolint:forcetypeassert // a connection of the network tcp has this type
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return 0 // the connection ends without an answer
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

// The test changes the folder in the same way as the server does before it joins the parts of an upload.
func TestAnUploadThatAKilledServerWasJoiningIsJoinedAfterwards(t *testing.T) {
	t.Parallel()
	for name, sidecar := range map[string]bool{"attributes": false, "sidecar": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set := s3Settings(t.TempDir())
			roots := []string{filepath.Join(set.Dir, "data")}
			if sidecar {
				roots = append(roots, filepath.Join(set.Dir, "meta"))
				if err := os.MkdirAll(roots[1], 0o700); err != nil {
					t.Fatal(err)
				}
			}
			srv := startS3(t, set)
			c := client(t, srv, "secret")
			newBucket(t, c)
			core := minio.Core{Client: c}
			id, err := core.NewMultipartUpload(testContext(t), "audio", "a/b.flac", minio.PutObjectOptions{ContentType: "audio/flac"})
			if err != nil {
				t.Fatal(err)
			}
			body := []byte("the only part")
			part, err := core.PutObjectPart(testContext(t), "audio", "a/b.flac", id, 1, bytes.NewReader(body), int64(len(body)), minio.PutObjectPartOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := srv.Stop(testContext(t)); err != nil {
				t.Fatal(err)
			}
			for _, root := range roots {
				found, err := filepath.Glob(filepath.Join(root, "audio", ".sgwtmp", "multipart", "*", id))
				if err != nil || len(found) != 1 {
					t.Fatalf("%s has %q, %v", root, found, err)
				}
				if err := os.Rename(found[0], found[0]+".0123456789abcdef-1.inprogress"); err != nil {
					t.Fatal(err)
				}
			}
			core.Client = client(t, startS3(t, set), "secret")
			_, err = core.CompleteMultipartUpload(testContext(t), "audio", "a/b.flac", id, []minio.CompletePart{{PartNumber: 1, ETag: part.ETag}}, minio.PutObjectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if info, err := core.StatObject(testContext(t), "audio", "a/b.flac", minio.StatObjectOptions{}); err != nil || info.Size != int64(len(body)) || info.ContentType != "audio/flac" {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
}

func TestWrongSecretsAreRefused(t *testing.T) {
	t.Parallel()
	c := client(t, startS3(t, s3Settings(t.TempDir())), "guess")
	if _, err := c.ListBuckets(testContext(t)); minio.ToErrorResponse(err).Code != "SignatureDoesNotMatch" {
		t.Errorf("wrong secret: %v", err)
	}
}

func TestTheWorkingDirectoryStays(t *testing.T) {
	t.Parallel()
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	startS3(t, s3Settings(t.TempDir()))
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("working directory = %s, %v; want %s", after, err, before)
	}
}

func TestATakenPortIsRefusedByS3(t *testing.T) {
	t.Parallel()
	srv := startS3(t, s3Settings(t.TempDir()))
	if _, err := stack.StartS3(testContext(t), proc.Port{Fixed: srv.Port()}, s3Settings(t.TempDir()), zerolog.Nop()); !errors.Is(err, proc.ErrPortTaken) {
		t.Errorf("start on a taken port: %v, want %v", err, proc.ErrPortTaken)
	}
}

func TestStopDoesNotWaitForIdleClients(t *testing.T) {
	t.Parallel()
	srv := startS3(t, s3Settings(t.TempDir()))
	newBucket(t, client(t, srv, "secret")) // the client keeps an idle connection
	if err := srv.Stop(testContext(t)); err != nil {
		t.Fatal(err)
	}
	if !errors.Is(srv.Err(), proc.ErrExited) {
		t.Errorf("end = %v, want an orderly one", srv.Err())
	}
}

func BenchmarkPut(b *testing.B) {
	c := client(b, startS3(b, s3Settings(b.TempDir())), "secret")
	newBucket(b, c)
	body := make([]byte, 100_000)
	b.SetBytes(int64(len(body)))
	b.SetParallelism(16)
	b.ResetTimer()
	var n atomic.Int64
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			key := fmt.Sprintf("%03d/%d", n.Load()%100, n.Add(1))
			if _, err := c.PutObject(b.Context(), "audio", key, bytes.NewReader(body), int64(len(body)), minio.PutObjectOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
