// Package attack contains attacks by one client on the other users of an installation: floods of requests,
// slow connections, and uploads that are cheap to send and expensive to process.
//
// An attack is limited by its rate or by the number of its connections, so that its effect depends on Sori
// and not on the speed of the machine. It ends when its context ends, and leaves no connection open.
package attack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"sori.internal/infra/analyzer/hostile"
	"sori.internal/infra/internal/client"
	"sori.internal/infra/internal/loadgen"
	"sori.internal/shared/principal"
	"sori.internal/shared/wait"
)

// Attack is one attack.
type Attack struct {
	Name   string
	About  string
	Scopes []principal.Scope // scopes of the attacker, in addition to those of a user
	Stub   bool              // the attack needs an analysis server whose results the attacker chooses (Client.Stub)

	prepare func(ctx context.Context, a *Client) error // nil if there is nothing to prepare
	run     func(ctx context.Context, a *Client)
}

// Prepare creates what the attack needs, such as a job.
func (t Attack) Prepare(ctx context.Context, a *Client) error {
	if t.prepare == nil {
		return nil
	}
	if err := t.prepare(ctx, a); err != nil {
		return fmt.Errorf("prepare %s: %w", t.Name, err)
	}
	a.Reset()
	return nil
}

// Run attacks until ctx ends.
func (t Attack) Run(ctx context.Context, a *Client) { t.run(ctx, a) }

// All returns the attacks. Those that need a stub analysis server are last, so that the analysis server is
// replaced only once.
func All() []Attack {
	catalogue := []principal.Scope{principal.CatalogueWrite}
	return []Attack{
		{Name: "comments", About: "20 uploads a second of an Ogg that claims to have 2^32-1 comments", run: comments},
		{Name: "samples", About: "2 uploads a second of a FLAC of 170 KB with almost 3 hours of samples", run: samples},
		{Name: "retries", About: "50 retries a second of one job that fails", prepare: failing, run: retries},
		{Name: "slow uploads", About: "64 uploads that send a byte every 2 s", run: slowUploads},
		{Name: "staging", About: "64 uploads of 90 MB that send 4 MB and then a byte every 2 s", run: staging},
		{Name: "slow JSON", About: "300 bodies of JSON that send 1 MB and then a byte every 2 s", Scopes: catalogue, run: slowJSON},
		{Name: "callbacks", About: "200 connections with forged callbacks whose bodies do not end", run: callbacks},
		{Name: "references", About: "30 tokens a second with hostile references and links", Scopes: catalogue, run: references},
		{Name: "searches", About: "64 searches at once for parts of 20 000 names", run: searches},
		{Name: "lists", About: "8 lists at once of 300 tokens with 60 MB of scripts", run: lists},
		{Name: "documents", About: "600 requests a second for the documentation and /metrics, without credentials", run: documents},
		{Name: "one principal", About: "600 requests a second of one principal", run: onePrincipal},
		{Name: "one address", About: "600 requests a second of one address, without credentials", run: oneAddress},
		{Name: "results", About: "20 small uploads a second with results of 0.4 and 4 MB", Stub: true, run: results},
		{Name: "readers", About: "40 clients that request a result of 12 MB and do not read it", Stub: true, prepare: largeResult, run: readers},
		{Name: "streams", About: "500 streams of one job", Stub: true, prepare: waiting, run: streams},
	}
}

func comments(ctx context.Context, a *Client) {
	a.repeat(ctx, 8, 20, func(ctx context.Context, _ int) { a.upload(ctx, "comments.ogg", hostile.Ogg()) })
}

// samplesFLAC returns a FLAC with as many samples as a recording may have (MAX_AUDIO_SECONDS).
func samplesFLAC() []byte {
	const rate, seconds = 48000, 10_700
	return hostile.FLAC(rate, 2, seconds*rate/hostile.FLACFrame)
}

func samples(ctx context.Context, a *Client) {
	file := samplesFLAC()
	a.repeat(ctx, 4, 2, func(ctx context.Context, _ int) { a.upload(ctx, "samples.flac", file) })
}

var errNoJob = errors.New("the upload was not accepted")

// settled is the time limit in which the job that Prepare creates must end.
const settled = 30 * time.Second

// until waits until the job that Prepare has created has the given status.
func (a *Client) until(ctx context.Context, status string) error {
	ctx, cancel := context.WithTimeout(ctx, settled)
	defer cancel()
	for {
		var page client.Page
		a.send(ctx, request{method: http.MethodGet, path: "/jobs/?limit=1"}, &page)
		if len(page.Jobs) == 1 && page.Jobs[0].JobID == a.job && page.Jobs[0].Status == status {
			return nil
		}
		if wait.For(ctx, 100*time.Millisecond) != nil {
			return fmt.Errorf("wait until job %s is %s: %w", a.job, status, context.Cause(ctx))
		}
	}
}

// failing uploads a recording whose analysis fails, and waits until its job has failed.
func failing(ctx context.Context, a *Client) error {
	if a.job = a.upload(ctx, "comments.ogg", hostile.Ogg()); a.job == "" {
		return errNoJob
	}
	return a.until(ctx, "failed")
}

func retries(ctx context.Context, a *Client) {
	a.repeat(ctx, 8, 50, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodPost, path: "/jobs/" + a.job + "/retry?force=true"}, nil)
	})
}

// unfinished returns an upload that never ends: it announces a recording of the given size, sends only the
// first bytes of the form, and then one byte at a time.
func (a *Client) unfinished(size int64, first int) held {
	form := loadgen.NewNoise(size, 1).Form(0)
	body, _ := io.ReadAll(io.LimitReader(form.Body, int64(first))) // reading from memory cannot fail
	return held{
		request: request{method: http.MethodPost, path: a.uploadPath(), contentType: form.ContentType, body: body},
		length:  form.Length, trickle: true, reads: true, again: time.Second,
	}
}

func slowUploads(ctx context.Context, a *Client) {
	h := a.unfinished(10_000_000, 1000)
	a.hold(ctx, 64, func(int) held { return h })
}

func staging(ctx context.Context, a *Client) {
	h := a.unfinished(90_000_000, 4<<20)
	h.again = 5 * time.Second
	a.hold(ctx, 64, func(int) held { return h })
}

func slowJSON(ctx context.Context, a *Client) {
	const size = 1 << 20
	body := []byte(`{"token_name":"` + strings.Repeat("x", size-1000))
	a.hold(ctx, 300, func(int) held {
		return held{
			request: request{method: http.MethodPost, path: "/tokens/", contentType: "application/json", body: body},
			length:  size, trickle: true, reads: true, again: 5 * time.Second,
		}
	})
}

func callbacks(ctx context.Context, a *Client) {
	a.hold(ctx, 200, func(int) held {
		const path = "/tokens/webhook/analysis-complete?job_id=0199a5f2-0000-7000-8000-000000000000&attempt=1&sig=forged"
		return held{
			request: request{method: http.MethodPost, path: path, contentType: "application/json", body: []byte("{"), anonymous: true},
			length:  16 << 20, trickle: true, reads: true, again: time.Second,
		}
	})
}

// references creates tokens with references that the services can read and the user must not, and with links that would
// harm a user who opens them.
func references(ctx context.Context, a *Client) {
	bad := []string{
		`"s3_pitch_url":"s3://sori/audio/0199a5f2-0000-7000-8000-000000000000_a.wav"`, `"s3_pitch_url":"s3://other/secrets.json"`,
		`"s3_pitch_url":"http://169.254.169.254/latest/meta-data/"`, `"s3_bgvoice_url":"http://127.0.0.1:9000/"`,
		`"s3_textgrid_url":"file:///etc/passwd"`, `"youtube_url":"javascript:alert(1)"`, `"youtube_url":"data:text/html,x"`,
		`"s3_bgvoice_url":"https://user:password@example.com/"`,
	}
	a.repeat(ctx, 8, 30, func(ctx context.Context, i int) {
		body := `{"token_name":"a","actor_name":"b","start_time":0,"end_time":1,` + bad[i%len(bad)] + `}`
		a.send(ctx, request{method: http.MethodPost, path: "/tokens/", contentType: "application/json", body: []byte(body)}, nil)
	})
}

// searches lists tokens by parts of their names: parts that are too short for an index, and parts that many
// names contain.
func searches(ctx context.Context, a *Client) {
	parts := []string{"a", "0f", "e1", "name", "%25", "zz"}
	a.repeat(ctx, 64, 300, func(ctx context.Context, i int) {
		a.send(ctx, request{method: http.MethodGet, path: "/tokens/?limit=500&q=" + parts[i%len(parts)]}, nil)
	})
}

// LargeCategory is the category of the tokens with large scripts.
const LargeCategory = "attack-scripts"

func lists(ctx context.Context, a *Client) {
	a.repeat(ctx, 8, 100, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodGet, path: "/tokens/?limit=500&category=" + LargeCategory}, nil)
	})
}

func documents(ctx context.Context, a *Client) {
	paths := []string{"/docs", "/openapi.json", "/metrics", "/"}
	a.repeat(ctx, 32, 600, func(ctx context.Context, i int) {
		a.send(ctx, request{method: http.MethodGet, path: paths[i%len(paths)], anonymous: true}, nil)
	})
}

func onePrincipal(ctx context.Context, a *Client) {
	a.repeat(ctx, 32, 600, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodGet, path: "/jobs/?limit=50"}, nil)
	})
}

func oneAddress(ctx context.Context, a *Client) {
	a.repeat(ctx, 32, 600, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodGet, path: "/jobs/?limit=50", anonymous: true}, nil)
	})
}

// resultOf returns JSON of about n bytes.
func resultOf(n int) string { return `{"pitch":"` + strings.Repeat("0123456789", n/10) + `"}` }

func results(ctx context.Context, a *Client) {
	sizes := []string{resultOf(400_000), resultOf(4_000_000)}
	small := loadgen.Tone(220, 100*time.Millisecond)
	a.repeat(ctx, 8, 20, func(ctx context.Context, i int) {
		if job := a.upload(ctx, "small.wav", small); job != "" {
			_ = a.Stub.Complete(ctx, job, sizes[i%len(sizes)]) // an error does not matter: the attack has ended, or the callback was refused
		}
	})
}

// waiting creates a job that stays open, since the stub analysis server does not complete it.
func waiting(ctx context.Context, a *Client) error {
	if a.job = a.upload(ctx, "small.wav", loadgen.Tone(220, 100*time.Millisecond)); a.job == "" {
		return errNoJob
	}
	return nil
}

// largeResult creates a job and completes it with a large result.
func largeResult(ctx context.Context, a *Client) error {
	if err := waiting(ctx, a); err != nil {
		return err
	}
	if err := a.Stub.Complete(ctx, a.job, resultOf(12<<20)); err != nil {
		return err
	}
	return a.until(ctx, "completed")
}

func readers(ctx context.Context, a *Client) {
	a.hold(ctx, 40, func(i int) held {
		path := "/tokens/analysis-result/"
		if i%2 == 1 {
			path = "/tokens/analysis-progress/"
		}
		return held{request: request{method: http.MethodGet, path: path + a.job}, again: 5 * time.Second}
	})
}

func streams(ctx context.Context, a *Client) {
	a.hold(ctx, 500, func(int) held {
		return held{request: request{method: http.MethodGet, path: "/tokens/analysis-progress/" + a.job}, again: 5 * time.Second}
	})
}
