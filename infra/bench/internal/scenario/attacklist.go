package scenario

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

// Attack is an attack by one client on the other users of an installation: a flood of requests, slow
// connections, or uploads that are cheap to send and expensive to process.
//
// It is limited by its rate or by the number of its connections, so that its effect depends on Sori and
// not on the speed of the machine. It ends when its context ends, and leaves no connection open.
type Attack struct {
	Name string

	about  string
	scopes []principal.Scope // scopes of the attacker, in addition to those of a user
	stub   bool              // the attack needs an analysis server whose results the attacker chooses (attacker.stub)

	prepare func(a *attacker, ctx context.Context) error // creates what the attack needs, such as a job; nil if it needs nothing
	run     func(a *attacker, ctx context.Context)       // attacks until ctx ends
}

// AllAttacks lists the attacks. Those that need a stub analysis server are last, so that the analysis server is
// replaced only once.
func AllAttacks() []Attack {
	catalogue := []principal.Scope{principal.CatalogueWrite}
	return []Attack{
		{Name: "comments", about: "20 uploads a second of an Ogg that claims to have 2^32-1 comments", run: (*attacker).comments},
		{Name: "samples", about: "2 uploads a second of a FLAC of 170 KB with almost 3 hours of samples", run: (*attacker).samples},
		{Name: "retries", about: "50 retries a second of one job that fails", prepare: (*attacker).failing, run: (*attacker).retries},
		{Name: "slow uploads", about: "64 uploads that send a byte every 2 s", run: (*attacker).slowUploads},
		{Name: "staging", about: "64 uploads of 90 MB that send 4 MB and then a byte every 2 s", run: (*attacker).staging},
		{Name: "slow JSON", about: "300 bodies of JSON that send 1 MB and then a byte every 2 s", scopes: catalogue, run: (*attacker).slowJSON},
		{Name: "callbacks", about: "200 connections with forged callbacks whose bodies do not end", run: (*attacker).callbacks},
		{Name: "references", about: "30 tokens a second with hostile references and links", scopes: catalogue, run: (*attacker).references},
		{Name: "searches", about: "64 searches at once for parts of 20 000 names", run: (*attacker).searches},
		{Name: "lists", about: "8 lists at once of 300 tokens with 60 MB of scripts", run: (*attacker).lists},
		{Name: "documents", about: "600 requests a second for the documentation and /metrics, without credentials", run: (*attacker).documents},
		{Name: "one principal", about: "600 requests a second of one principal", run: (*attacker).onePrincipal},
		{Name: "one address", about: "600 requests a second of one address, without credentials", run: (*attacker).oneAddress},
		{Name: "results", about: "20 small uploads a second with results of 0.4 and 4 MB", stub: true, run: (*attacker).results},
		{Name: "readers", about: "40 clients that request a result of 12 MB and do not read it", stub: true, prepare: (*attacker).largeResult, run: (*attacker).readers},
		{Name: "streams", about: "500 streams of one job", stub: true, prepare: (*attacker).waiting, run: (*attacker).streams},
	}
}

func (a *attacker) comments(ctx context.Context) {
	a.repeat(ctx, 8, 20, func(ctx context.Context, _ int) { a.upload(ctx, "comments.ogg", hostile.Ogg()) })
}

// samplesFLAC returns a FLAC with as many samples as a recording may have (MAX_AUDIO_SECONDS).
func samplesFLAC() []byte {
	const rate, seconds = 48000, 10_700
	return hostile.FLAC(rate, 2, seconds*rate/hostile.FLACFrame)
}

func (a *attacker) samples(ctx context.Context) {
	file := samplesFLAC()
	a.repeat(ctx, 4, 2, func(ctx context.Context, _ int) { a.upload(ctx, "samples.flac", file) })
}

var errNoJob = errors.New("the upload was not accepted")

// preparedIn is the time limit in which the job that an attack prepares must end.
const preparedIn = 30 * time.Second

// awaitStatus waits until the job that was prepared has the given status.
func (a *attacker) awaitStatus(ctx context.Context, status string) error {
	ctx, cancel := context.WithTimeout(ctx, preparedIn)
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
func (a *attacker) failing(ctx context.Context) error {
	if a.job = a.upload(ctx, "comments.ogg", hostile.Ogg()); a.job == "" {
		return errNoJob
	}
	return a.awaitStatus(ctx, "failed")
}

func (a *attacker) retries(ctx context.Context) {
	a.repeat(ctx, 8, 50, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodPost, path: "/jobs/" + a.job + "/retry?force=true"}, nil)
	})
}

// unfinished returns an upload that never ends: it announces a recording of the given size, sends only the
// first bytes of the form, and then one byte at a time.
func (a *attacker) unfinished(size int64, first int) held {
	form := loadgen.NewNoise(size, 1).Form(0)
	body, _ := io.ReadAll(io.LimitReader(form.Body, int64(first))) // reading from memory cannot fail
	return held{
		request: request{method: http.MethodPost, path: a.uploadPath(), contentType: form.ContentType, body: body},
		length:  form.Length, trickle: true, reads: true, again: time.Second,
	}
}

func (a *attacker) slowUploads(ctx context.Context) {
	h := a.unfinished(10_000_000, 1000)
	a.hold(ctx, 64, func(int) held { return h })
}

func (a *attacker) staging(ctx context.Context) {
	h := a.unfinished(90_000_000, 4<<20)
	h.again = 5 * time.Second
	a.hold(ctx, 64, func(int) held { return h })
}

func (a *attacker) slowJSON(ctx context.Context) {
	const size = 1 << 20
	body := []byte(`{"token_name":"` + strings.Repeat("x", size-1000))
	a.hold(ctx, 300, func(int) held {
		return held{
			request: request{method: http.MethodPost, path: "/tokens/", contentType: "application/json", body: body},
			length:  size, trickle: true, reads: true, again: 5 * time.Second,
		}
	})
}

func (a *attacker) callbacks(ctx context.Context) {
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
func (a *attacker) references(ctx context.Context) {
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
func (a *attacker) searches(ctx context.Context) {
	parts := []string{"a", "0f", "e1", "name", "%25", "zz"}
	a.repeat(ctx, 64, 300, func(ctx context.Context, i int) {
		a.send(ctx, request{method: http.MethodGet, path: "/tokens/?limit=500&q=" + parts[i%len(parts)]}, nil)
	})
}

// largeCategory is the category of the tokens with large scripts.
const largeCategory = "attack-scripts"

func (a *attacker) lists(ctx context.Context) {
	a.repeat(ctx, 8, 100, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodGet, path: "/tokens/?limit=500&category=" + largeCategory}, nil)
	})
}

func (a *attacker) documents(ctx context.Context) {
	paths := []string{"/docs", "/openapi.json", "/metrics", "/"}
	a.repeat(ctx, 32, 600, func(ctx context.Context, i int) {
		a.send(ctx, request{method: http.MethodGet, path: paths[i%len(paths)], anonymous: true}, nil)
	})
}

func (a *attacker) onePrincipal(ctx context.Context) {
	a.repeat(ctx, 32, 600, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodGet, path: "/jobs/?limit=50"}, nil)
	})
}

func (a *attacker) oneAddress(ctx context.Context) {
	a.repeat(ctx, 32, 600, func(ctx context.Context, _ int) {
		a.send(ctx, request{method: http.MethodGet, path: "/jobs/?limit=50", anonymous: true}, nil)
	})
}

// resultOf returns JSON of about n bytes.
func resultOf(n int) string { return `{"pitch":"` + strings.Repeat("0123456789", n/10) + `"}` }

func (a *attacker) results(ctx context.Context) {
	sizes := []string{resultOf(400_000), resultOf(4_000_000)}
	small := loadgen.Tone(220, 100*time.Millisecond)
	a.repeat(ctx, 8, 20, func(ctx context.Context, i int) {
		if job := a.upload(ctx, "small.wav", small); job != "" {
			_ = a.stub.Complete(ctx, job, sizes[i%len(sizes)]) // an error does not matter: the attack has ended, or the callback was refused
		}
	})
}

// waiting creates a job that stays open, since the stub analysis server does not complete it.
func (a *attacker) waiting(ctx context.Context) error {
	if a.job = a.upload(ctx, "small.wav", loadgen.Tone(220, 100*time.Millisecond)); a.job == "" {
		return errNoJob
	}
	return nil
}

// largeResult creates a job and completes it with a large result.
func (a *attacker) largeResult(ctx context.Context) error {
	if err := a.waiting(ctx); err != nil {
		return err
	}
	if err := a.stub.Complete(ctx, a.job, resultOf(12<<20)); err != nil {
		return err
	}
	return a.awaitStatus(ctx, "completed")
}

func (a *attacker) readers(ctx context.Context) {
	a.hold(ctx, 40, func(i int) held {
		path := "/tokens/analysis-result/"
		if i%2 == 1 {
			path = "/tokens/analysis-progress/"
		}
		return held{request: request{method: http.MethodGet, path: path + a.job}, again: 5 * time.Second}
	})
}

func (a *attacker) streams(ctx context.Context) {
	a.hold(ctx, 500, func(int) held {
		return held{request: request{method: http.MethodGet, path: "/tokens/analysis-progress/" + a.job}, again: 5 * time.Second}
	})
}
