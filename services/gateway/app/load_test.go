package app_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestManyConcurrentUploadsAreAcceptedOrRefusedAsBusy(t *testing.T) {
	t.Parallel()
	const maxUploads = 128
	for _, n := range []int{32, maxUploads, 512} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			g := start(t, map[string]string{"MAX_CONCURRENT_UPLOADS": fmt.Sprint(maxUploads)})
			body, contentType := form(part{name: "file", file: "a.wav", content: wav(100 << 10)})
			client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n}, Timeout: 30 * time.Second}
			t.Cleanup(client.CloseIdleConnections)
			var taken, busy, unavailable atomic.Int64
			var wg sync.WaitGroup
			for range n {
				wg.Go(func() {
					began := time.Now()
					resp, err := client.Post(g.url+g.path(), contentType, bytes.NewReader(body))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					text, _ := io.ReadAll(resp.Body)
					mayRetry := resp.StatusCode == http.StatusServiceUnavailable && resp.Header.Get("Retry-After") != ""
					switch {
					case resp.StatusCode == http.StatusAccepted:
						taken.Add(1)
					case mayRetry && bytes.Contains(text, []byte(`"code":"busy"`)):
						busy.Add(1)
					// On a machine with too little processor time, an upload may time out while it
					// waits for a connection to the database.
					case mayRetry && bytes.Contains(text, []byte(`"code":"unavailable"`)):
						unavailable.Add(1)
						if waited := time.Since(began); waited < 2*time.Second {
							t.Errorf("an upload is refused as unavailable after only %v", waited)
						}
					default:
						t.Errorf("%s: %s", resp.Status, text)
					}
				})
			}
			for range 20 {
				if r := g.do("GET", "/livez", nil, nil); r.StatusCode != http.StatusOK {
					t.Errorf("livez: %s", r.Status)
				}
			}
			wg.Wait()
			t.Logf("%d taken, %d refused as busy, %d as unavailable", taken.Load(), busy.Load(), unavailable.Load())
			if taken.Load() == 0 {
				t.Error("no upload was taken")
			}
			if n <= maxUploads && busy.Load() > 0 {
				t.Errorf("%d uploads were refused as busy, although %d at once are allowed", busy.Load(), maxUploads)
			}
			entries, err := g.staging.Entries(g.kit.Context())
			// If it is unknown whether the event of a refused upload was stored, the upload's bytes
			// stay staged.
			if got := int64(len(entries)); err != nil || got < taken.Load() || got > taken.Load()+unavailable.Load() {
				t.Errorf("%d entries for %d uploads that were taken and %d that may have been, %v", got, taken.Load(), unavailable.Load(), err)
			}
		})
	}
}

func TestAnUploadBeyondTheLimitIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	g := start(t, map[string]string{"MAX_CONCURRENT_UPLOADS": "1"})
	body, contentType := form(part{name: "file", file: "a.wav", content: wav(64)})
	w := g.dial()
	w.send("POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", g.path(), contentType, len(body), body[:100])
	g.active(1)
	file := part{name: "file", file: "a.wav", content: wav(64)}
	g.problem(g.upload(nil, file), 503, "busy")
	w.send("%s", body[100:])
	if r := w.answer(); r.StatusCode != http.StatusAccepted {
		t.Errorf("the first: %s", r.Status)
	}
	if r := g.upload(nil, file); r.StatusCode != http.StatusAccepted {
		t.Errorf("the next: %s", r.Status)
	}
}

// TestMemoryDoesNotGrowWithTheBody is not parallel: it measures the memory of the process.
func TestMemoryDoesNotGrowWithTheBody(t *testing.T) { //nolint:paralleltest // see above
	g := start(t, nil)
	const size = 64 << 20
	head := "--b\r\nContent-Disposition: form-data; name=file; filename=a.wav\r\n\r\n" + string(wav(64))
	tail := "\r\n--b--\r\n"
	body := io.MultiReader(strings.NewReader(head), io.LimitReader(zeros{}, size), strings.NewReader(tail))
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	stop, peak := make(chan struct{}), make(chan uint64)
	go func() {
		var most uint64
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapAlloc)
			select {
			case <-tick.C:
			case <-stop:
				peak <- most
				return
			}
		}
	}()
	r := g.do("POST", g.path(), body, map[string]string{"Content-Type": "multipart/form-data; boundary=b"})
	close(stop)
	most := <-peak
	var after runtime.MemStats
	runtime.ReadMemStats(&after)
	if r.StatusCode != http.StatusAccepted {
		t.Fatalf("%s: %s", r.Status, r.text)
	}
	grown := int64(most) - int64(before.HeapAlloc)
	t.Logf("heap grew by %d KiB at most, %d MiB were allocated", grown>>10, (after.TotalAlloc-before.TotalAlloc)>>20)
	if grown > 16<<20 {
		t.Errorf("the heap grew by %d bytes for a body of %d", grown, size)
	}
	if got := g.received(r.json(t)["job_id"].(string)); got.Size != size+64 {
		t.Errorf("%d bytes were staged", got.Size)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
