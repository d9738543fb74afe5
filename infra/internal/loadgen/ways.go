package loadgen

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"

	"sori.internal/infra/internal/client"
)

// Way is the way in which a client uploads its recording.
type Way string

// The ways.
const (
	ByForm   Way = "form"
	ByParts  Way = "parts sent to S3"
	ByS3Form Way = "form sent to S3"
	ByTus    Way = "tus"
	ByDraft  Way = "draft of the IETF"
	ByURL    Way = "URL"
)

// ways lists the ways from which clients choose at random. A way that is chosen more often is in the list several times.
func ways() []Way {
	return []Way{ByForm, ByForm, ByForm, ByForm, ByParts, ByParts, ByS3Form, ByTus, ByTus, ByDraft, ByURL, ByURL}
}

// quirk is an unusual behaviour of a client during an upload. Each way of uploading supports some of them.
type quirk int

const (
	leaves       quirk = iota // begins an upload and abandons it, like a user who closes the page; then begins another one
	aborts                    // begins an upload and removes it; then begins another one
	doubles                   // sends the same request twice at once
	damages                   // first sends other bytes than those of the recording
	lists                     // forgets which parts it has sent, and requests their list
	concatenates              // sends the two halves as separate uploads and joins them
	earlyBytes                // sends bytes with the request that begins the upload
	quirks       = 12         // number of values to choose from; those without a name mean no unusual behaviour
)

// The sizes of recordings, in bytes.
const (
	smallSize  = 10 << 10
	middleSize = 640 << 10 // several chunks in staging
	largeSize  = 11 << 20  // three parts
)

// upload describes how the client of one job uploads its recording.
type upload struct {
	way    Way
	quirk  quirk
	size   int
	number uint64 // number of the recording; jobs with the same number and size have the same recording
	fresh  bool   // no cached result is wanted
	seed   uint64 // seed of the random choices during the upload
}

// The kinds of uploads. A constant of n means that one of n clients, chosen at random, makes an upload of this kind.
const (
	uploadLarge = 8  // a recording of three parts, by a way that can send it in several requests
	uploadMore  = 10 // a recording of several chunks, by any other way
	sameOf      = 3  // the same recording as others of the owner that are uploaded at about the same time
	freshOf     = 10 // want no cached result
	sameWithin  = 60 // number of successive jobs among which the jobs of an owner may have the same recording
)

// upload draws how the i-th job is uploaded.
func (c *Clients) upload(i int, rng *rand.Rand) upload {
	u := upload{way: ways()[rng.IntN(len(ways()))], quirk: quirk(rng.IntN(quirks)), number: uint64(i), size: smallSize, seed: rng.Uint64()}
	if u.way == ByURL && c.opt.Source == nil {
		u.way = ByForm
	}
	large, more := rng.IntN(uploadLarge) == 0, rng.IntN(uploadMore) == 0
	switch resumes := u.way == ByParts || u.way == ByTus || u.way == ByDraft; {
	case resumes && large:
		u.size = largeSize
	case resumes || more:
		u.size = middleSize
	}
	same, fresh := rng.IntN(sameOf) == 0, rng.IntN(freshOf) == 0
	if same {
		owners := max(1, len(c.opt.Credentials))
		u.number = 1<<32 + uint64(i/sameWithin*owners+c.owner(i))
		u.fresh = fresh
		if u.size == smallSize {
			u.size = middleSize
		}
	}
	return u
}

// recording returns a recording of a seed, and its SHA-256 in hexadecimal. It contains noise.
func recording(seed, number uint64, size int) (file []byte, sum string) {
	file, _ = io.ReadAll(NewNoise(int64(size), seed).Body(number)) // reading from memory cannot fail
	hash := sha256.Sum256(file)
	return file, hex.EncodeToString(hash[:])
}

// send uploads the recording of the i-th job until it is accepted or ctx ends. It reports whether it was accepted.
func (s *session) send(ctx context.Context, i int, u upload) bool {
	s.upload, s.name = u, fmt.Sprintf("client-%d-%d.wav", s.clients.opt.Seed, i)
	s.file, s.sum = recording(s.clients.opt.Seed, u.number, u.size)
	defer func() { s.file = nil }()
	s.clients.ledger.count(Action("by " + u.way))
	switch u.way {
	case ByParts:
		return s.sendParts(ctx)
	case ByS3Form:
		return s.sendS3Form(ctx)
	case ByTus:
		return s.sendTus(ctx)
	case ByDraft:
		return s.sendDraft(ctx)
	case ByURL:
		return s.sendURL(ctx)
	default:
		return s.sendForm(ctx)
	}
}

// accept records the job that the upload has become.
func (s *session) accept(job string) {
	s.job, s.seen = job, -1
	s.clients.ledger.accept(job, Promise{Owner: s.owner, SHA256: s.sum, Fresh: s.upload.fresh})
}

// sendForm sends the recording in a form. It repeats the request, with the same idempotency key, until the gateway answers.
func (s *session) sendForm(ctx context.Context) bool {
	r := RecordingOf(s.name, s.file)
	return s.idempotent(ctx, "upload", func(c *client.Client) (string, error) {
		form := r.Form()
		form.Body, form.Key, form.Fresh = s.body(r.body), s.name, s.upload.fresh
		return c.Upload(ctx, s.clients.opt.Token, form)
	})
}

// sendURL sends the URL of the recording.
func (s *session) sendURL(ctx context.Context) bool {
	order := map[string]string{"audio_url": s.clients.opt.Source.url(s.name, s.upload)}
	if s.upload.seed%2 == 0 {
		order["digest"] = s.sum
	}
	return s.idempotent(ctx, "order of a fetch", func(c *client.Client) (string, error) {
		var accepted client.Job
		path := "/tokens/" + strconv.FormatInt(s.clients.opt.Token, 10) + "/analyze"
		r, err := client.JSON(client.Request{Method: http.MethodPost, Path: path, Want: http.StatusAccepted, Into: &accepted}, order)
		if err != nil {
			return "", err
		}
		r.Header["Idempotency-Key"] = strconv.Quote(s.name)
		s.describeFreshness(r.Header)
		_, err = c.Do(ctx, r)
		return accepted.JobID, err
	})
}

// idempotent repeats a request with an idempotency key until it is answered with a job.
func (s *session) idempotent(ctx context.Context, what string, send func(*client.Client) (job string, err error)) bool {
	return s.retry(ctx, what, func(c *client.Client) error {
		job, err := send(c)
		if p, answered := errors.AsType[*client.Problem](err); answered && p.Code == "idempotency-key-in-use" {
			return errors.New(p.Code) // an earlier attempt, whose answer was lost, still uses the key: try again
		}
		if err == nil {
			s.accept(job)
		}
		return err
	}, func(*client.Problem) bool { return false })
}

// describeFreshness adds the header field Cache-Control if the upload must not get a cached result.
func (s *session) describeFreshness(header map[string]string) {
	if s.upload.fresh {
		header["Cache-Control"] = "no-cache"
	}
}

// ask repeats a request, which it makes anew for each attempt, until it is answered. The problem is nil if the answer is a success.
// An answer with one of the statuses in refusals is expected, too.
func (s *session) ask(
	ctx context.Context, what string, request func() client.Request, refusals ...int,
) (header http.Header, problem *client.Problem, ok bool) {
	ok = s.retry(ctx, what, func(c *client.Client) (err error) {
		header, err = c.Do(ctx, request())
		return err
	}, func(p *client.Problem) bool {
		problem = p
		return slices.Contains(refusals, p.Status)
	})
	return header, problem, ok
}

// body returns the body of a request. While CutBodies is on, the body breaks in the middle.
func (s *session) body(b []byte) io.Reader {
	if len(b) > 0 && s.clients.cutsBodies() {
		return io.MultiReader(bytes.NewReader(b[:len(b)/2]), broken{})
	}
	return bytes.NewReader(b)
}

// errCut is the read error that breaks an upload in the middle.
var errCut = errors.New("the client is gone")

// broken is a reader that returns errCut.
type broken struct{}

// Read implements io.Reader.
func (broken) Read([]byte) (int, error) { return 0, errCut }
