package fetch

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sori.internal/services/uploader/internal/upload"
	"sori.internal/shared/event"
	"sori.internal/shared/source"
)

func TestABrokenConnectionIsResumedWhereItBroke(t *testing.T) {
	t.Parallel()
	f := &file{content: content(1, 300_000), etag: `"v1"`, cuts: []int{100_000, 50_000}}
	o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, f.serve) + "/a.wav"})
	if o.err != nil || !bytes.Equal(o.body, f.content) || o.begins != 1 {
		t.Errorf("%d bytes, begun %d times: %v", len(o.body), o.begins, o.err)
	}
	if want := []string{"", "bytes=100000-", "bytes=150000-"}; strings.Join(f.ranges, ",") != strings.Join(want, ",") {
		t.Errorf("asked for %q", f.ranges)
	}
	if strings.Join(o.failed, ",") != "fetch-failed 0,fetch-failed 0" {
		t.Errorf("failed tries %q", o.failed)
	}
}

func TestAnEncodingThatIsNoneIsResumed(t *testing.T) {
	t.Parallel()
	f := &file{content: content(1, 300_000), etag: `"v1"`, cuts: []int{100_000}}
	o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "identity")
		w.Header().Set("Accept-Ranges", "bytes")
		f.serve(w, r)
	})})
	if o.err != nil || !bytes.Equal(o.body, f.content) || o.begins != 1 {
		t.Errorf("%d bytes, begun %d times, asked for %q: %v", len(o.body), o.begins, f.ranges, o.err)
	}
}

func TestADateToTryAgainAfterIsWaitedFor(t *testing.T) {
	t.Parallel()
	resp := &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)}}}
	f := &transfer{client: New(loopback(t)), source: source.Source{URL: "https://media.example/a"}}
	if failure := f.statusError(resp); failure.after < 50*time.Second {
		t.Errorf("the next try follows after %v", failure.after)
	}
}

func TestAFetchThatCannotBeResumedBeginsAgain(t *testing.T) {
	t.Parallel()
	for name, etag := range map[string]string{"no validator": "", "a weak one": `W/"v1"`} {
		f := &file{content: content(1, 300_000), etag: etag, cuts: []int{100_000}}
		o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, f.serve)})
		if o.err != nil || !bytes.Equal(o.body, f.content) || o.begins != 2 || strings.Join(f.ranges, "") != "" {
			t.Errorf("%s: %d bytes, begun %d times: %v", name, len(o.body), o.begins, o.err)
		}
	}
}

func TestAServerWithoutRangesIsAskedForTheWholeFileAgain(t *testing.T) {
	t.Parallel()
	whole, n := content(1, 300_000), atomic.Int64{}
	o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
		if n.Add(1) == 1 {
			_, _ = w.Write(whole[:1000])
			w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
			cut()
		}
		_, _ = w.Write(whole)
	})})
	if o.err != nil || !bytes.Equal(o.body, whole) || o.begins != 2 {
		t.Errorf("%d bytes, begun %d times: %v", len(o.body), o.begins, o.err)
	}
}

func TestTwoVersionsOfAFileAreNeverMixed(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]func(w http.ResponseWriter, r *http.Request, second []byte){
		"a server that obeys If-Range": func(w http.ResponseWriter, r *http.Request, second []byte) {
			w.Header().Set("ETag", `"v2"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(second))
		},
		"one that ignores it": func(w http.ResponseWriter, r *http.Request, second []byte) {
			r.Header.Del("If-Range")
			w.Header().Set("ETag", `"v2"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(second))
		},
		"another part than asked for": func(w http.ResponseWriter, r *http.Request, second []byte) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("Range") == "" {
				_, _ = w.Write(second)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-%d/%d", len(second)-1, len(second)))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(second)
		},
		"another size": func(w http.ResponseWriter, r *http.Request, second []byte) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("Range") == "" {
				_, _ = w.Write(second)
				return
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 1000-%d/%d", len(second), len(second)+1))
			w.WriteHeader(http.StatusPartialContent)
			_, _ = w.Write(append(second[1000:], 0))
		},
		"a file that is shorter now": func(w http.ResponseWriter, r *http.Request, second []byte) {
			w.Header().Set("ETag", `"v1"`)
			if r.Header.Get("Range") != "" {
				w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
				return
			}
			_, _ = w.Write(second)
		},
	} {
		first, second, n := content(1, 300_000), content(2, 300_000), atomic.Int64{}
		o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				w.Header().Set("ETag", `"v1"`)
				w.Header().Set("Content-Length", strconv.Itoa(len(first)))
				_, _ = w.Write(first[:1000])
				w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
				cut()
			}
			answer(w, r, second)
		})})
		if o.err != nil || !bytes.Equal(o.body, second) || o.begins != 2 {
			t.Errorf("%s: %d bytes, begun %d times: %v", name, len(o.body), o.begins, o.err)
		}
	}
}

func TestARefusalEndsAFetchAndAnOutageIsTriedThreeTimes(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]struct {
		requests  int64
		retryable bool
	}{
		404: {1, false}, 403: {1, false}, 401: {1, false}, 410: {1, false}, 204: {1, false}, 206: {1, false}, 304: {1, false},
		500: {3, true}, 503: {3, true}, 429: {3, true}, 408: {3, true},
	} {
		var n atomic.Int64
		o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
			n.Add(1)
			w.WriteHeader(status)
		}) + "/a?sig=s3cret"})
		var f *upload.FetchError
		if o.code() != fmt.Sprintf("fetch-failed %d", status) || n.Load() != want.requests || !errors.As(o.err, &f) || f.Retryable != want.retryable {
			t.Errorf("%d: %s after %d requests, %+v", status, o.code(), n.Load(), f)
		}
		if len(o.failed) != int(want.requests)-1 {
			t.Errorf("%d: failed tries %q", status, o.failed)
		}
		if f != nil && !strings.Contains(f.Detail, fmt.Sprintf("127.0.0.1 answered %d", status)) {
			t.Errorf("%d: %s", status, f.Detail)
		}
	}
}

func TestAServerThatRecoversIsFetchedFrom(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte("sound"))
	})})
	if o.err != nil || string(o.body) != "sound" || strings.Join(o.failed, ",") != "fetch-failed 502,fetch-failed 502" {
		t.Errorf("%q %q %v", o.body, o.failed, o.err)
	}
}

func TestALengthThatIsALieIsNoFile(t *testing.T) {
	t.Parallel()
	o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5000")
		_, _ = w.Write(make([]byte, 1000))
	})})
	if o.code() != "fetch-failed 0" || len(o.failed) != 2 {
		t.Errorf("%s %q", o.code(), o.failed)
	}
}

// The second response is a 206 without Content-Length that ends too early according to its
// Content-Range. The fetch must be resumed once more.
func TestAPartThatEndsTooSoonIsResumed(t *testing.T) {
	t.Parallel()
	whole, n := content(1, 30_000), atomic.Int64{}
	o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v1"`)
		if n.Add(1) == 1 {
			w.Header().Set("Content-Length", strconv.Itoa(len(whole)))
			_, _ = w.Write(whole[:1000])
			w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
			cut()
		}
		var from int
		_, _ = fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(whole)-1, len(whole)))
		w.WriteHeader(http.StatusPartialContent)
		w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
		end := len(whole)
		if n.Load() == 2 {
			end = 20_000
		}
		_, _ = w.Write(whole[from:end])
	})})
	if o.err != nil || !bytes.Equal(o.body, whole) || o.begins != 1 || n.Load() != 3 {
		t.Errorf("%d bytes after %d requests, begun %d times: %v", len(o.body), n.Load(), o.begins, o.err)
	}
}

func TestAFileThatIsTooLargeIsNotRead(t *testing.T) {
	t.Parallel()
	options := loopback(t)
	options.MaxBytes = 1000
	o := fetchFrom(t, New(options), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1001")
	})})
	if o.code() != event.CodeFetchTooBig+" 0" || o.begins != 0 {
		t.Error(o.code(), o.begins)
	}
}

func TestAResponseIsReadAsItWasSent(t *testing.T) {
	t.Parallel()
	var bomb bytes.Buffer
	z := gzip.NewWriter(&bomb)
	_, _ = z.Write(make([]byte, 1<<20))
	_ = z.Close()
	for name, encoding := range map[string]string{"with its encoding": "gzip", "without": ""} {
		asked := ""
		o := fetchFrom(t, New(loopback(t)), source.Source{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
			asked = r.Header.Get("Accept-Encoding")
			if encoding != "" {
				w.Header().Set("Content-Encoding", encoding)
			}
			_, _ = w.Write(bomb.Bytes())
		})})
		if asked != "identity" {
			t.Errorf("%s: Accept-Encoding %q", name, asked)
		}
		if encoding != "" && (o.code() != "fetch-failed 200" || o.begins > 0) || encoding == "" && !bytes.Equal(o.body, bomb.Bytes()) {
			t.Errorf("%s: %s, %d bytes", name, o.code(), len(o.body))
		}
	}
}

func TestAServerThatSendsTooSlowlyIsGivenUp(t *testing.T) {
	t.Parallel()
	for name, drip := range map[string]int{"a byte now and then": 1, "nothing": 0} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			options := loopback(t)
			options.Idle, options.MinRate, options.Tries = 150*time.Millisecond, 1<<20, 1
			o := fetchFrom(t, New(options), source.Source{URL: serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", "1000000")
				w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
				for r.Context().Err() == nil {
					_, _ = w.Write(make([]byte, drip))
					w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
					select {
					case <-time.After(20 * time.Millisecond):
					case <-r.Context().Done():
					}
				}
			})})
			if o.code() != event.CodeFetchTimeout+" 0" {
				t.Error(o.code())
			}
		})
	}
	t.Run("no header", func(t *testing.T) {
		t.Parallel()
		options := loopback(t)
		options.Idle, options.Tries = 100*time.Millisecond, 1
		o := fetchFrom(t, New(options), source.Source{URL: serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })})
		if o.code() != event.CodeFetchTimeout+" 0" {
			t.Error(o.code())
		}
	})
}

func TestAHeaderWithoutEndIsGivenUp(t *testing.T) {
	t.Parallel()
	options := loopback(t)
	options.Tries = 1
	o := fetchFrom(t, New(options), source.Source{URL: serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Long", strings.Repeat("x", maxHeaderBytes+10_000))
	})})
	if o.code() != "fetch-failed 0" {
		t.Error(o.code())
	}
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	u := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "1000000")
		w.(http.Flusher).Flush() //nolint:forcetypeassert // the writers of net/http implement http.Flusher
		<-r.Context().Done()
	})
	err := New(loopback(t)).Fetch(ctx, source.Source{URL: u}, func(*upload.FetchError) { t.Error("tried again") },
		func(body io.Reader, _ int64) error {
			cancel()
			_, err := io.ReadAll(body)
			return err
		})
	if err == nil {
		t.Error("it succeeded")
	}
}

func TestAnErrorOfTheReaderIsReturnedAndEndsTheFetch(t *testing.T) {
	t.Parallel()
	full, n := errors.New("storage full"), atomic.Int64{}
	u := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		n.Add(1)
		_, _ = w.Write([]byte("sound"))
	})
	err := New(loopback(t)).Fetch(t.Context(), source.Source{URL: u}, func(*upload.FetchError) {}, func(io.Reader, int64) error { return full })
	if !errors.Is(err, full) || n.Load() != 1 {
		t.Errorf("%v after %d requests", err, n.Load())
	}
}
