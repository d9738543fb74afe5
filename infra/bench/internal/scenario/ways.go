package scenario

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"

	"sori.internal/infra/bench/internal/target"
	"sori.internal/infra/internal/harness"
)

// Ways are the options of the scenario ways.
type Ways struct {
	Chosen []string `name:"ways" help:"the ways to upload in the scenario ways: names separated by commas (default: all)"`
	Rounds int      `name:"rounds" default:"3" help:"the number of rounds of each way in the scenario ways"`
	Tusd   string   `name:"tusd" help:"the path of the command tusd, for the scenario ways (default: a server with the same code, which this program contains)"`
}

const (
	// wayPart is the size, in bytes, of the parts of all uploads. It is the smallest size that S3 accepts, and the size
	// that the uploader uses.
	wayPart = 5 << 20

	// wayMemory is the bound for the growth of a process over its idle memory, in MiB, while all uploads of a round run
	// concurrently.
	wayMemory = 64

	// wayStall is how long S3 may take to join the parts of four recordings at once, on a slow disk.
	wayStall = 10 * time.Minute

	// wayWarmUp is the size of the recordings that are sent before a round, in bytes.
	wayWarmUp = 100_000
)

// ways sends the same recordings by each way to Sori, and by tus to tusd over the same S3 server, in alternating rounds.
func ways(ctx context.Context, b *Bench) error {
	size := b.Size.or(Size{Jobs: 4, Concurrent: 4, Bytes: 1 << 30})
	tusd, err := b.startTusd(ctx)
	if err != nil {
		return err
	}
	defer tusd.Stop(ctx)
	m := &waysRun{b: b, size: size, tusd: tusd, took: map[string][]time.Duration{}, grown: map[string]int64{}}
	rounds := max(b.Ways.Rounds, 1)
	all := slices.DeleteFunc(allWays(), func(w way) bool {
		return !w.tusd && len(b.Ways.Chosen) > 0 && !slices.Contains(b.Ways.Chosen, w.name)
	})
	for round := range rounds {
		for i := range all {
			w := all[i]
			if round%2 == 1 { // odd rounds run in reverse order, so that a change of the machine's speed affects all ways alike
				w = all[len(all)-1-i]
			}
			b.Say("ways: round %d of %d: %s, %d recordings of %d bytes, %d at a time", round+1, rounds, w.name, size.Jobs, size.Bytes, size.Concurrent)
			if err := m.round(ctx, w); err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
		}
	}
	m.report(all)
	return nil
}

// startTusd makes tusd's bucket and starts tusd.
func (b *Bench) startTusd(ctx context.Context) (*target.Tusd, error) {
	t, err := b.Target.StartTusd(ctx, b.Ways.Tusd, wayPart)
	if err != nil {
		return nil, err
	}
	err = b.Target.S3.MakeBucket(ctx, target.TusdBucket, minio.MakeBucketOptions{})
	if err != nil && minio.ToErrorResponse(err).Code != minio.BucketAlreadyOwnedByYou {
		t.Stop(ctx)
		return nil, fmt.Errorf("make the bucket of tusd: %w", err)
	}
	return t, nil
}

// waysRun has the measurements of all rounds.
type waysRun struct {
	b    *Bench
	size Size
	tusd *target.Tusd

	took  map[string][]time.Duration // duration of each round of a way: from the first request to the last answer
	grown map[string]int64           // the peak memory over idle in bytes, by way and process
}

// round sends the recordings by one way, waits for the ends of their jobs, and removes them.
func (m *waysRun) round(ctx context.Context, w way) error {
	// The processes are restarted, because a process that already has much memory could receive the uploads without
	// growing.
	err := m.b.Target.Restart(ctx, map[string]string{
		"MAX_UPLOAD_BYTES": strconv.FormatInt(m.size.Bytes+1<<20, 10), "PRINCIPAL_STAGED_BYTES": "0", "RATE_LIMIT_PER_PRINCIPAL": "0",
		"S3_STALL_TIMEOUT": wayStall.String(),
	}, harness.Gateway, harness.Uploader)
	if err != nil {
		return err
	}
	s := newSender(m.b.Target, m.tusd, m.size.Concurrent)
	defer s.close()
	warm, err := m.send(ctx, s, w, Size{Jobs: m.size.Concurrent, Concurrent: m.size.Concurrent, Bytes: wayWarmUp})
	if err != nil {
		return err
	}
	if err := m.ended(ctx, s, w, warm); err != nil {
		return err
	}
	end, from := m.b.meter("ways "+w.name), len(m.b.Report.Processes)
	began := time.Now()
	sent, err := m.send(ctx, s, w, m.size)
	m.took[w.name] = append(m.took[w.name], time.Since(began))
	if err != nil {
		return err
	}
	if err := m.ended(ctx, s, w, sent); err != nil { // after the answer, the uploader still reads the recording
		return err
	}
	end(m.size.Jobs)
	for _, p := range m.b.Report.Processes[from:] {
		key := w.name + " " + p.Name
		m.grown[key] = max(m.grown[key], p.PeakGrowth)
	}
	return s.remove(ctx, w, append(warm, sent...))
}

// send sends recordings, and returns the ids of their uploads or jobs.
func (m *waysRun) send(ctx context.Context, s *sender, w way, size Size) ([]string, error) {
	audio, ids := m.b.audio(size.Bytes), make([]string, size.Jobs)
	return ids, parallel(ctx, size.Jobs, size.Concurrent, func(ctx context.Context, i int) (err error) {
		ids[i], err = w.send(s, ctx, audio, uint64(i))
		return err
	})
}

// ended waits until the jobs have ended. For uploads to tusd, which become no jobs, it does nothing.
func (m *waysRun) ended(ctx context.Context, s *sender, w way, jobs []string) error {
	if w.tusd {
		return nil
	}
	for _, job := range jobs {
		if _, err := m.b.ending(ctx, s.api, job); err != nil {
			return err
		}
	}
	return nil
}

// report adds the figures of all rounds.
func (m *waysRun) report(all []way) {
	const name = "ways"
	for _, w := range all {
		m.b.add(Figure{Scenario: name, Name: w.name + ": bytes acknowledged", Value: median(m.rates(w)), Unit: "MB/s"})
	}
	tusd := m.rates(all[0])
	for _, w := range all {
		if w.tusd {
			continue
		}
		ratios := m.rates(w)
		for i := range ratios {
			ratios[i] /= tusd[i]
		}
		ratio := Figure{Scenario: name, Name: w.name + ": of tusd's speed", Value: median(ratios)}
		if w.judged {
			ratio.Bound = Bound{AtLeast: 1}
		}
		m.b.add(ratio)
		for _, process := range []string{harness.Gateway, harness.Uploader} {
			m.b.add(Figure{Scenario: name, Name: w.name + ": peak RSS of the " + process + " above idle", Unit: "MiB",
				Value: float64(m.grown[w.name+" "+process]) / (1 << 20), Bound: Bound{AtMost: wayMemory}})
		}
	}
}

// rates returns the speed of a way in MB/s, by round.
func (m *waysRun) rates(w way) []float64 {
	var rates []float64
	for _, took := range m.took[w.name] {
		rates = append(rates, float64(m.size.Bytes)*float64(m.size.Jobs)/1e6/took.Seconds())
	}
	return rates
}

// median returns the middle one of values; of an even number, the smaller one of the two.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[(len(sorted)-1)/2]
}
