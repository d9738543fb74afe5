package loadgen

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"testing"
)

func TestASourceServesTheRecordingWhateverItsTroubles(t *testing.T) {
	t.Parallel()
	s, err := OpenSource(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	for trouble, failures := range map[quirk]int{leaves: sourceBreaks, damages: sourceBreaks, aborts: sourceRefuses, doubles: 0, lists: 0, concatenates: 0, quirks: 0} {
		u := upload{quirk: trouble, number: 3, size: middleSize}
		want, _ := recording(1, u.number, u.size)
		failed := 0
		for {
			status, body, err := get(t.Context(), s.url("take.wav", u))
			if err == nil && status == http.StatusOK {
				if !bytes.Equal(body, want) {
					t.Errorf("%d: %d bytes, which are not the recording", trouble, len(body))
				}
				break
			}
			if failed++; failed > failures {
				t.Fatalf("%d: %d, %v", trouble, status, err)
			}
		}
		if failed != failures {
			t.Errorf("%d: %d requests failed, want %d", trouble, failed, failures)
		}
	}
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(resp.Body)
	return resp.StatusCode, body, err
}
