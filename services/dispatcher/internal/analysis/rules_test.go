package analysis

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
	"sori.internal/shared/testkit"
)

// logOf returns a log of events.
func logOf(events ...event.Event) event.Log { return testkit.LogOf(time.Time{}, events...) }

// Events of the logs below.
var (
	stored     = event.Stored{JobID: job}
	canceled   = event.Canceled{JobID: job}
	erased     = event.Erased{JobID: job}
	unreadable = event.Unreadable{JobID: job, Of: event.NameCompleted}
)

func attempted(n int) event.Attempted   { return event.Attempted{JobID: job, Attempt: n} }
func dispatched(n int) event.Dispatched { return event.Dispatched{JobID: job, Attempt: n} }
func lapsed(n int) event.Lapsed         { return event.Lapsed{JobID: job, Attempt: n} }
func completed(n int) event.Completed   { return event.Completed{JobID: job, Attempt: n} }
func failed(n int) event.Failed         { return event.Failed{JobID: job, Attempt: n} }
func retried(n int) event.Retried       { return event.Retried{JobID: job, Attempt: n} }

func TestAnAttemptBeginsOnceAndOnlyWhileItIsTheNewest(t *testing.T) {
	t.Parallel()
	first, second, retry := attempt{number: 1}, attempt{number: 2}, attempt{number: 2, retry: 2}
	for name, c := range map[string]struct {
		log     event.Log
		attempt attempt
		send    bool
		append  event.Event
	}{
		"no log":                          {logOf(), first, false, nil},
		"stored":                          {logOf(stored), first, true, attempted(1)},
		"begun, then a crash":             {logOf(stored, attempted(1)), first, true, nil},
		"accepted":                        {logOf(stored, attempted(1), dispatched(1)), first, false, nil},
		"accepted, next":                  {logOf(stored, attempted(1), dispatched(1)), second, true, attempted(2)},
		"lapsed, next":                    {logOf(stored, attempted(1), dispatched(1), lapsed(1)), second, true, attempted(2)},
		"next begun, then a crash":        {logOf(stored, dispatched(1), attempted(2)), second, true, nil},
		"next begun, old event":           {logOf(stored, dispatched(1), attempted(2)), first, false, nil},
		"next accepted":                   {logOf(stored, attempted(2), dispatched(2)), second, false, nil},
		"completed":                       {logOf(stored, attempted(1), completed(1)), second, false, nil},
		"failed":                          {logOf(stored, attempted(1), failed(1)), second, false, nil},
		"canceled":                        {logOf(stored, canceled), first, false, nil},
		"erased":                          {logOf(stored, erased), first, false, nil},
		"erased and purged":               {logOf(erased), retry, false, nil},
		"an unreadable terminal event":    {logOf(stored, attempted(1), unreadable), second, false, nil},
		"retried":                         {logOf(stored, attempted(1), failed(1), retried(2)), retry, true, attempted(2)},
		"retried, not for the retry":      {logOf(stored, attempted(1), failed(1), retried(2)), second, false, nil},
		"retried, first delivered again":  {logOf(stored, attempted(1), failed(1), retried(2)), first, false, nil},
		"retried again":                   {logOf(stored, failed(2), retried(3)), retry, false, nil},
		"retried before it was attempted": {logOf(stored, failed(0), retried(1)), attempt{number: 1, retry: 1}, true, attempted(1)},
		"retried, begun, then a crash":    {logOf(stored, failed(1), retried(2), attempted(2)), retry, true, nil},
		"retried, accepted":               {logOf(stored, failed(1), retried(2), attempted(2), dispatched(2)), retry, false, nil},
	} {
		if send, e := beginAttempt(c.log, job, c.attempt); send != c.send || e != c.append {
			t.Errorf("%s: send %v, append %+v", name, send, e)
		}
	}
}

func TestAConflictMeansThatTheServerHasTheRequestOnlyIfItIsRepeated(t *testing.T) {
	t.Parallel()
	conflict, other := &RejectedError{Conflict: true}, &RejectedError{}
	for _, c := range []struct {
		attempt  attempt
		err      error
		received bool
	}{
		{attempt{again: true}, conflict, true},
		{attempt{again: true}, fmt.Errorf("send: %w", conflict), true},
		{attempt{}, conflict, false},
		{attempt{}, &RejectedError{Conflict: true, Repeated: true}, true},
		{attempt{}, &RejectedError{Repeated: true}, false},
		{attempt{again: true}, other, false},
		{attempt{again: true}, ErrUnanswered, false},
		{attempt{again: true}, nil, false},
	} {
		if got := c.attempt.received(c.err); got != c.received {
			t.Errorf("again %v, %v: %v", c.attempt.again, c.err, got)
		}
	}
}

func TestAnAcceptanceIsAppendedOnceAndOnlyForTheNewestAttempt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log    event.Log
		append event.Event
	}{
		"no log":                        {logOf(), nil},
		"begun":                         {logOf(stored, attempted(1)), dispatched(1)},
		"accepted":                      {logOf(stored, attempted(1), dispatched(1)), nil},
		"the callback was faster":       {logOf(stored, attempted(1), completed(1)), nil},
		"failed, retried":               {logOf(stored, attempted(1), failed(1), retried(2)), nil},
		"next begun":                    {logOf(stored, attempted(2)), nil},
		"canceled":                      {logOf(stored, attempted(1), canceled), nil},
		"erased":                        {logOf(erased), nil},
		"an older attempt was accepted": {logOf(stored, dispatched(0), attempted(1)), dispatched(1)},
	} {
		if e := acceptAttempt(c.log, dispatched(1)); e != c.append {
			t.Errorf("%s: append %+v", name, e)
		}
	}
}

func TestAFailureOfAnAttemptEndsTheJobOnlyWhileItIsTheNewest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log  event.Log
		ends bool
	}{
		"no log":          {logOf(), false},
		"begun":           {logOf(stored, attempted(1)), true},
		"accepted":        {logOf(stored, attempted(1), dispatched(1)), true},
		"lapsed":          {logOf(stored, attempted(1), dispatched(1), lapsed(1)), true},
		"next begun":      {logOf(stored, dispatched(1), attempted(2)), false},
		"completed":       {logOf(stored, attempted(1), completed(1)), false},
		"failed, retried": {logOf(stored, attempted(1), failed(1), retried(2)), false},
		"canceled":        {logOf(stored, attempted(1), canceled), false},
		"erased":          {logOf(erased), false},
	} {
		want := event.Event(nil)
		if c.ends {
			want = failed(1)
		}
		if e := failAttempt(c.log, failed(1)); e != want {
			t.Errorf("%s: append %+v", name, e)
		}
	}
}

func TestADeadLetterFailsItsJobUnlessItHasEnded(t *testing.T) {
	t.Parallel()
	invalid, internal := fault.New(fault.Invalid, "bad", "It is bad."), fault.New(fault.Internal, "internal", "A defect.")
	for name, c := range map[string]struct {
		log    event.Log
		fault  *fault.Error
		append event.Event
	}{
		"no log":        {logOf(), invalid, nil},
		"bad input":     {logOf(stored), invalid, event.Failed{JobID: job, Code: "bad", Detail: "It is bad."}},
		"a defect":      {logOf(stored, attempted(2)), internal, event.Failed{JobID: job, Attempt: 2, Code: "internal", Detail: "A defect.", Retryable: internal.Kind.Retryable()}},
		"after a retry": {logOf(stored, failed(1), retried(2)), invalid, event.Failed{JobID: job, Attempt: 2, Code: "bad", Detail: "It is bad."}},
		"completed":     {logOf(stored, attempted(1), completed(1)), invalid, nil},
		"canceled":      {logOf(stored, canceled), invalid, nil},
		"erased":        {logOf(erased), invalid, nil},
	} {
		if e := failJob(c.log, job, c.fault); e != c.append {
			t.Errorf("%s: append %+v", name, e)
		}
	}
}

func TestACallbackCountsIfItsAttemptIsTheNewestOfAnActiveJob(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log    event.Log
		number int
		want   Disposition
	}{
		"begun, before the answer":     {logOf(stored, attempted(1)), 1, Recorded},
		"accepted":                     {logOf(stored, attempted(1), dispatched(1)), 1, Recorded},
		"lapsed":                       {logOf(stored, attempted(1), dispatched(1), lapsed(1)), 1, Recorded},
		"next begun, old":              {logOf(stored, dispatched(1), attempted(2)), 1, Stale},
		"next begun, newest":           {logOf(stored, dispatched(1), attempted(2)), 2, Recorded},
		"retried, old":                 {logOf(stored, attempted(1), failed(1), retried(2)), 1, Stale},
		"completed":                    {logOf(stored, attempted(1), completed(1)), 1, AlreadyEnded},
		"completed by the next, old":   {logOf(stored, attempted(2), completed(2)), 1, Stale},
		"failed":                       {logOf(stored, attempted(1), failed(1)), 1, AlreadyEnded},
		"canceled":                     {logOf(stored, attempted(1), canceled), 1, AlreadyEnded},
		"canceled, old":                {logOf(stored, attempted(2), canceled), 1, Stale},
		"erased":                       {logOf(stored, attempted(1), erased), 1, AlreadyEnded},
		"erased, old":                  {logOf(stored, attempted(2), erased), 1, AlreadyEnded},
		"erased and purged":            {logOf(erased), 1, AlreadyEnded},
		"an unreadable terminal event": {logOf(stored, attempted(1), unreadable), 1, AlreadyEnded},
	} {
		if got, err := judgeCallback(c.log, c.number); got != c.want || err != nil {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	if _, err := judgeCallback(nil, 1); !fault.Is(err, fault.NotFound) {
		t.Errorf("without a log: %v", err)
	}
}

func TestAnAttemptIsPolledOnlyWhileTheServerHasIt(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log                                     event.Log
		afterDispatched, afterRefused, byLapsed step
	}{
		"nothing":                       {logOf(), stepNone, stepNone, stepNone},
		"stored":                        {logOf(stored), stepNone, stepNone, stepNext},
		"requested":                     {logOf(stored, attempted(1)), stepNone, stepWait, stepPoll},
		"accepted":                      {logOf(stored, attempted(1), dispatched(1)), stepPoll, stepPoll, stepPoll},
		"lapsed":                        {logOf(stored, attempted(1), dispatched(1), lapsed(1)), stepNone, stepNone, stepPoll},
		"lapsed, next begun":            {logOf(stored, dispatched(1), lapsed(1), attempted(2)), stepNone, stepNone, stepNext},
		"lost, next begun":              {logOf(stored, dispatched(1), attempted(2)), stepNext, stepNone, stepNext},
		"lost, next accepted":           {logOf(stored, attempted(2), dispatched(2)), stepNone, stepNone, stepNext},
		"completed":                     {logOf(stored, attempted(1), dispatched(1), completed(1)), stepNone, stepNone, stepNone},
		"canceled":                      {logOf(stored, attempted(1), dispatched(1), canceled), stepNone, stepNone, stepNone},
		"canceled, next begun":          {logOf(stored, dispatched(1), attempted(2), canceled), stepNone, stepNone, stepNone},
		"erased":                        {logOf(stored, attempted(1), dispatched(1), erased), stepNone, stepNone, stepNone},
		"failed and retried":            {logOf(stored, attempted(1), dispatched(1), failed(1), retried(2)), stepNone, stepNone, stepNone},
		"failed, retried and attempted": {logOf(stored, dispatched(1), failed(1), retried(2), attempted(2)), stepNone, stepNone, stepNone},
	} {
		if a, b, l := afterDispatched(c.log, 1), afterRefused(c.log, 1), afterLapsed(c.log, 1); a != c.afterDispatched || b != c.afterRefused || l != c.byLapsed {
			t.Errorf("%s: after dispatched %v, refused %v, lapsed %v", name, a, b, l)
		}
	}
}

func TestTheNextAttemptFollowsUntilTheLastAndARetryBeginsANewCount(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		log         event.Log
		number, max int
		want        attempt
		ok          bool
	}{
		"of three, the first":            {logOf(stored, attempted(1)), 1, 3, attempt{number: 2}, true},
		"of three, the second":           {logOf(stored, attempted(2)), 2, 3, attempt{number: 3}, true},
		"of three, the last":             {logOf(stored, attempted(3)), 3, 3, attempt{}, false},
		"of one":                         {logOf(stored, attempted(1)), 1, 1, attempt{}, false},
		"the last, whose next has begun": {logOf(stored, attempted(4)), 3, 3, attempt{number: 4}, true},
		"a retry's first":                {logOf(stored, failed(3), retried(4), attempted(4)), 4, 2, attempt{number: 5, retry: 4}, true},
		"a retry's last":                 {logOf(stored, failed(3), retried(4), attempted(5)), 5, 2, attempt{}, false},
		"a retry before any attempt":     {logOf(stored, failed(0), retried(1), attempted(2)), 2, 2, attempt{}, false},
	} {
		if got, ok := nextAttempt(c.log, c.number, c.max); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v %v", name, got, ok)
		}
	}
}

func TestARecordingIsWhereTheLogSays(t *testing.T) {
	t.Parallel()
	want := event.Stored{JobID: job, Bucket: "b", Key: "k"}
	if got, err := recordingOf(logOf(event.Received{JobID: job}, want, attempted(1))); !reflect.DeepEqual(got, want) || err != nil {
		t.Errorf("%+v %v", got, err)
	}
	_, err := recordingOf(logOf(event.Received{JobID: job}))
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Invalid || f.Code != "recording-unknown" {
		t.Error(err)
	}
}

func TestASilentServerIsPolledSoonerIfItHasReportedProgress(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		ago      time.Duration
		progress bool
		interval time.Duration
		want     time.Duration
	}{
		"just accepted":             {0, false, 30 * time.Second, 30 * time.Second},
		"accepted a while ago":      {20 * time.Second, false, 30 * time.Second, 10 * time.Second},
		"due":                       {30 * time.Second, false, 30 * time.Second, 0},
		"just heard":                {0, true, 30 * time.Second, 5 * time.Second},
		"silent":                    {6 * time.Second, true, 30 * time.Second, -time.Second},
		"polled faster than that":   {0, true, time.Second, time.Second},
		"a clock that is behind us": {-time.Second, true, 30 * time.Second, 6 * time.Second},
	} {
		if got := pollDelay(contact{heard: now.Add(-c.ago), progress: c.progress}, c.interval, now); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
	for polled, want := range map[time.Duration]time.Duration{ // time from the last report to the last poll: delay until the next poll
		-time.Second: 5 * time.Second, time.Second: 5 * time.Second, 5 * time.Second: 5 * time.Second,
		10 * time.Second: 10 * time.Second, 20 * time.Second: 20 * time.Second, time.Minute: 30 * time.Second,
	} {
		last := contact{heard: now.Add(-max(polled, 0)), progress: true}
		last.polled = last.heard.Add(polled)
		if got := pollDelay(last, 30*time.Second, now); got != want {
			t.Errorf("polled %v after it was heard: again in %v, want %v", polled, got, want)
		}
		last.progress = false
		if got := pollDelay(last, 30*time.Second, now); got != 30*time.Second {
			t.Errorf("it never reports: again in %v", got)
		}
	}
}
