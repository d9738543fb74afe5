package loadgen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"sori.internal/infra/internal/client"
	"sori.internal/shared/wait"
)

// protocol is a protocol of resumable uploads.
type protocol struct {
	header map[string]string // header of every request
	media  string            // the Content-Type of bytes that are appended
	found  int               // the status of the answer to HEAD
}

func tus() protocol {
	return protocol{map[string]string{"Tus-Resumable": "1.0.0"}, "application/offset+octet-stream", http.StatusOK}
}

func draft() protocol {
	return protocol{map[string]string{"Upload-Draft-Interop-Version": "6"}, "application/partial-upload", http.StatusNoContent}
}

// resumable is a resumable upload.
type resumable struct {
	*session
	protocol
	path    string
	content []byte
	partial bool // the upload becomes a part of another upload, and never a job
	told    int  // the last Upload-Offset in an answer, in bytes
	job     string
	rng     *rand.Rand
}

// resume returns the state of an upload that the server has created at the location.
func (s *session) resume(p protocol, location string, content []byte) *resumable {
	at := location
	if i := strings.LastIndex(location, "/uploads/"); i >= 0 {
		at = location[i:]
	}
	// The same seed gives the same random choices.
	return &resumable{session: s, protocol: p, path: at, content: content, rng: rand.New(rand.NewPCG(s.upload.seed, 1))}
}

// with returns the header fields that every request of the protocol has, and those in further.
func (p protocol) with(further map[string]string) map[string]string {
	all := maps.Clone(p.header)
	maps.Copy(all, further)
	return all
}

// metadata describes the recording in the form of tus.
func (s *session) metadata() string {
	encode := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	return "token_id " + encode(strconv.FormatInt(s.clients.opt.Token, 10)) + ",filename " + encode(s.name)
}

// sendTus sends the recording as tus-js-client does.
func (s *session) sendTus(ctx context.Context) bool {
	if s.upload.quirk == concatenates {
		return s.concatenate(ctx)
	}
	for round := 0; ctx.Err() == nil; round++ {
		var early []byte
		if s.upload.quirk == earlyBytes {
			early = s.file[:len(s.file)/3]
		}
		u, ok := s.createTus(ctx, s.file, early, map[string]string{"Upload-Metadata": s.metadata()})
		if !ok {
			return false
		}
		if round == 0 && (s.upload.quirk == leaves || s.upload.quirk == aborts) {
			_, _ = u.patch(ctx, u.gateway(), len(s.file)/3, nil) // an error does not matter: the upload is given up
			if s.upload.quirk == aborts && !u.terminate(ctx) {
				return false
			}
			continue
		}
		switch s.upload.quirk {
		case doubles:
			u.patchTwice(ctx)
		case damages:
			u.patchDamaged(ctx)
		}
		if !u.finish(ctx) {
			return false
		}
		s.accept(u.job)
		return true
	}
	return false
}

// createTus begins an upload, perhaps with its first bytes. If the response is lost, the uploader removes the
// unfinished upload later.
func (s *session) createTus(ctx context.Context, content, early []byte, further map[string]string) (*resumable, bool) {
	p := tus()
	header, _, ok := s.ask(ctx, "begin of an upload by tus", func() client.Request {
		r := client.Request{Method: http.MethodPost, Path: "/uploads/", Header: p.with(further), Body: http.NoBody, Want: http.StatusCreated}
		r.Header["Upload-Length"] = strconv.Itoa(len(content))
		s.describeFreshness(r.Header)
		if len(early) > 0 {
			r.Header["Content-Type"], r.Body, r.Length = p.media, s.body(early), int64(len(early))
		}
		return r
	})
	if !ok {
		return nil, false
	}
	u := s.resume(p, header.Get("Location"), content)
	u.told, _ = strconv.Atoi(header.Get("Upload-Offset")) // the answer has no offset if no early bytes were sent
	if s.intrudes {
		s.intrudeResumable(ctx, u)
	}
	return u, true
}

// finish appends what is missing until the upload is complete.
func (u *resumable) finish(ctx context.Context) bool {
	for ctx.Err() == nil && u.told < len(u.content) {
		n := min(1+u.rng.IntN(len(u.content)/2), len(u.content)-u.told)
		job, err := u.patch(ctx, u.gateway(), n, nil)
		if err == nil {
			u.told, u.job = u.told+n, job
			continue
		}
		if !u.passes(ctx, err) || !u.ask(ctx) {
			return false
		}
	}
	if ctx.Err() == nil && !u.partial && u.job == "" {
		u.clients.ledger.violate(Answers, "the complete upload %s names no job", u.path)
		return false
	}
	return ctx.Err() == nil
}

// patch appends n bytes at the last known offset, and returns the job if the upload is complete then.
func (u *resumable) patch(ctx context.Context, via *client.Client, n int, further map[string]string) (job string, err error) {
	piece := u.content[u.told : u.told+n]
	r := client.Request{
		Method: http.MethodPatch, Path: u.path, Header: u.with(further), Want: http.StatusNoContent,
		Body: u.body(piece), Length: int64(len(piece)),
	}
	r.Header["Upload-Offset"], r.Header["Content-Type"] = strconv.Itoa(u.told), u.media
	if u.found == http.StatusNoContent { // the draft
		r.Header["Upload-Complete"] = "?0"
		if u.told+n == len(u.content) {
			r.Header["Upload-Complete"] = "?1"
		}
	}
	header, err := via.Do(ctx, r)
	if err != nil {
		return "", err
	}
	return header.Get("Sori-Job"), nil
}

// passes reports whether the upload may be continued after a failed request. Otherwise it records a violation.
func (u *resumable) passes(ctx context.Context, err error) bool {
	if p, answered := errors.AsType[*client.Problem](err); answered && !p.Retryable() && p.Status != http.StatusConflict {
		u.clients.ledger.violate(Answers, "%s at %d of %d bytes: %v", u.path, u.told, len(u.content), err)
		return false
	}
	u.clients.ledger.count(Resumed)
	return wait.For(ctx, retryAfter) == nil
}

// ask requests the offset. It records a violation if the offset has decreased.
func (u *resumable) ask(ctx context.Context) bool {
	header, _, ok := u.session.ask(ctx, "offset of "+u.path, func() client.Request {
		return client.Request{Method: http.MethodHead, Path: u.path, Header: u.header, Want: u.found}
	})
	if !ok {
		return false
	}
	offset, err := strconv.Atoi(header.Get("Upload-Offset"))
	if err != nil || offset < u.told || offset > len(u.content) {
		u.clients.ledger.violate(Durable, "%s: the offset is %q after %d of %d bytes", u.path, header.Get("Upload-Offset"), u.told, len(u.content))
		return false
	}
	u.told, u.job = offset, header.Get("Sori-Job")
	return true
}

// patchTwice lets two requests append the same bytes at once. At least one of them succeeds, unless both connections
// break.
func (u *resumable) patchTwice(ctx context.Context) {
	var both sync.WaitGroup
	for range 2 {
		via := u.gateway()
		both.Go(func() {
			_, err := u.patch(ctx, via, len(u.content)/2, nil)
			if p, answered := errors.AsType[*client.Problem](err); answered && !p.Retryable() && p.Status != http.StatusConflict {
				u.clients.ledger.violate(Answers, "two requests append to %s: %v", u.path, err)
			}
		})
	}
	both.Wait()
	u.ask(ctx)
}

// statusDamaged is the status of the answer to a request whose bytes do not have the given checksum.
const statusDamaged = 460

// patchDamaged appends bytes with a wrong checksum. The server must not keep any of these bytes.
func (u *resumable) patchDamaged(ctx context.Context) {
	sum := sha256.Sum256([]byte("other bytes"))
	_, err := u.patch(ctx, u.gateway(), len(u.content)/2, map[string]string{
		"Upload-Checksum": "sha256 " + base64.StdEncoding.EncodeToString(sum[:]),
	})
	p, answered := errors.AsType[*client.Problem](err)
	if err == nil || answered && !p.Retryable() && p.Status != statusDamaged {
		u.clients.ledger.violate(Answers, "damaged bytes of %s: %v", u.path, err)
	}
	if before := u.told; u.ask(ctx) && u.told != before {
		u.clients.ledger.violate(Durable, "%d damaged bytes of %s count", u.told-before, u.path)
	}
}

// terminate removes the upload, and checks that the upload does not exist after that.
func (u *resumable) terminate(ctx context.Context) bool {
	if _, _, ok := u.session.ask(ctx, "removal of "+u.path, func() client.Request {
		return client.Request{Method: http.MethodDelete, Path: u.path, Header: u.header, Body: http.NoBody, Want: http.StatusNoContent}
	}, http.StatusNotFound); !ok {
		return false
	}
	u.absent(ctx, "offset of the removed upload "+u.path, func() client.Request {
		return client.Request{Method: http.MethodHead, Path: u.path, Header: u.header, Want: u.found}
	})
	return true
}

// concatenate sends the recording as two uploads and joins them. The request that joins them may be repeated: if its answer is
// lost, the repeated request is answered with the same job.
func (s *session) concatenate(ctx context.Context) bool {
	var urls []string
	half := len(s.file) / 2
	for _, content := range [][]byte{s.file[:half], s.file[half:]} {
		u, ok := s.createTus(ctx, content, nil, map[string]string{"Upload-Concat": "partial"})
		if !ok {
			return false
		}
		if u.partial = true; !u.finish(ctx) {
			return false
		}
		urls = append(urls, u.path)
	}
	header, _, ok := s.ask(ctx, "concatenation", func() client.Request {
		r := client.Request{Method: http.MethodPost, Path: "/uploads/", Body: http.NoBody, Want: http.StatusCreated, Header: tus().with(map[string]string{
			"Upload-Concat": "final;" + strings.Join(urls, " "), "Upload-Metadata": s.metadata(),
		})}
		s.describeFreshness(r.Header)
		return r
	})
	if ok {
		s.accept(header.Get("Sori-Job"))
	}
	return ok
}

// mayStartOver handles the failure of a request that may have begun a job. If the server has refused the request for good,
// mayStartOver records a violation and returns false. Otherwise it is unknown whether a job has begun: mayStartOver records
// that, waits, and reports whether the client may start over.
func (s *session) mayStartOver(ctx context.Context, what string, err error) bool {
	if p, answered := errors.AsType[*client.Problem](err); answered && !p.Retryable() {
		s.clients.ledger.violate(Answers, "%s: %v", what, err)
		return false
	}
	s.clients.ledger.lose(s.name)
	return wait.For(ctx, retryAfter) == nil
}

// sendDraft sends the recording by the draft of the IETF: most clients send the whole recording with the request that begins the
// upload, and resume the upload if this request breaks.
func (s *session) sendDraft(ctx context.Context) bool {
	whole := s.upload.quirk != earlyBytes
	for ctx.Err() == nil {
		header, location, err := s.createDraft(ctx, whole)
		if location == "" {
			if !s.mayStartOver(ctx, "begin of an upload by the draft", err) {
				return false
			}
			continue
		}
		u := s.resume(draft(), location, s.file)
		if err != nil && !u.passes(ctx, err) {
			return false
		}
		if err == nil {
			u.job = header.Get("Sori-Job")
			u.told, _ = strconv.Atoi(header.Get("Upload-Offset")) // the next request checks the offset
		}
		if s.intrudes {
			s.intrudeResumable(ctx, u)
		}
		if u.told < len(s.file) && !u.ask(ctx) || !u.finish(ctx) {
			return false
		}
		s.accept(u.job)
		return true
	}
	return false
}

// createDraft sends one request that begins an upload, with all bytes or the first ones. It returns the location of the upload,
// which may be known even if the request failed.
func (s *session) createDraft(ctx context.Context, whole bool) (http.Header, string, error) {
	var (
		mu       sync.Mutex // guards location: the trace may be called after the answer was returned
		location string     // not a named result: the caller would read that without mu
	)
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		mu.Lock()
		defer mu.Unlock()
		location = h.Get("Location")
		return nil
	}})
	piece, complete := s.file, "?1"
	if !whole {
		piece, complete = s.file[:len(s.file)/3], "?0"
	}
	query := url.Values{"token_id": {strconv.FormatInt(s.clients.opt.Token, 10)}, "filename": {s.name}}
	r := client.Request{
		Method: http.MethodPost, Path: "/uploads/?" + query.Encode(), Want: http.StatusCreated,
		Header: draft().with(map[string]string{"Upload-Complete": complete}), Body: s.body(piece), Length: int64(len(piece)),
	}
	s.describeFreshness(r.Header)
	header, err := s.gateway().Do(traced, r)
	mu.Lock()
	defer mu.Unlock()
	if err == nil {
		location = header.Get("Location")
	}
	return header, location, err
}

// intrudeResumable sends requests for an upload as another owner: the one with the next number. For that owner
// the upload must not exist.
func (s *session) intrudeResumable(ctx context.Context, u *resumable) {
	stranger := s.stranger()
	what := func(verb string) string { return fmt.Sprintf("%s %s of owner %d as another", verb, u.path, s.owner) }
	stranger.refused(ctx, what("look at"), func(c *client.Client) error {
		_, err := c.Do(ctx, client.Request{Method: http.MethodHead, Path: u.path, Header: u.header, Want: u.found})
		return err
	})
	stranger.refused(ctx, what("append to"), func(c *client.Client) error {
		header := u.with(map[string]string{"Upload-Offset": "0", "Content-Type": u.media, "Upload-Complete": "?0"})
		_, err := c.Do(ctx, client.Request{Method: http.MethodPatch, Path: u.path, Header: header, Want: http.StatusNoContent, Body: bytes.NewReader([]byte("RIFF"))})
		return err
	})
	stranger.refused(ctx, what("remove"), func(c *client.Client) error {
		_, err := c.Do(ctx, client.Request{Method: http.MethodDelete, Path: u.path, Header: tus().header, Want: http.StatusNoContent, Body: http.NoBody})
		return err
	})
}
