package event

import "time"

// Retention selects the settings that limit a stream.
type Retention uint8

// The retentions: RetainLog for the logs of jobs, RetainStaging for staging, RetainResults for the
// cached results.
const (
	RetainLog Retention = iota
	RetainStaging
	RetainResults
)

// Stream describes a stream; package bus creates it.
//
// All streams store messages in files, up to limits. A full stream rejects new messages and does
// not discard old ones: a client can repeat a rejected upload, but a discarded upload is lost. Only
// the stream of cached results discards old messages, since results can be computed again.
type Stream struct {
	Name        string
	Description string
	Subjects    []string
	Duplicates  time.Duration // deduplication window (Nats-Msg-Id)
	Retention   Retention
	MaxBytes    int64 // 0: the limit in the settings applies
	Lifetimes   bool  // messages may have a lifetime of their own (Lifetime)
}

// Jobs returns the stream of the logs and the progress events of all jobs.
func Jobs() Stream {
	return Stream{
		Name: "AUDIO_JOBS", Description: "the log of every job and its progress",
		Subjects: []string{AllJobs, AllProgress}, Duplicates: 5 * time.Minute, Retention: RetainLog, Lifetimes: true,
	}
}

// Tokens returns the stream of the events of tokens. It is small: a deletion has about 300 bytes.
func Tokens() Stream {
	return Stream{
		Name: "AUDIO_TOKENS", Description: "which tokens were deleted",
		Subjects: []string{AllTokens}, Duplicates: 5 * time.Minute, Retention: RetainLog, MaxBytes: 64 << 20,
	}
}

// Dead returns the stream of dead letters.
func Dead() Stream {
	return Stream{
		Name: "AUDIO_DEAD", Description: "messages that no retry can mend, by consumer",
		Subjects: []string{deadRoot + ">"}, Duplicates: 5 * time.Minute, Retention: RetainLog,
	}
}

// Queue returns the stream of the attempts that wait for a free slot. It is small: an attempt has
// about 250 bytes.
func Queue() Stream {
	return Stream{
		Name: "AUDIO_QUEUE", Description: "attempts that wait for a free slot, by owner",
		Subjects: []string{AllQueue}, Duplicates: time.Second, Retention: RetainLog, MaxBytes: 64 << 20,
	}
}

// Uploads returns the stream of the uploads that are not completed. It is small: an upload has about
// 500 bytes, and a resumable one 20 bytes more for each of its parts.
func Uploads() Stream {
	return Stream{
		Name: "AUDIO_UPLOADS", Description: "unfinished uploads straight to the bucket, by owner",
		Subjects: []string{AllUploads}, Duplicates: time.Second, Retention: RetainLog, MaxBytes: 64 << 20,
	}
}

// Results returns the stream of cached results.
func Results() Stream {
	return Stream{
		Name: "AUDIO_RESULTS", Description: "results of analyses, by token and by what they are of",
		Subjects: []string{AllResults}, Duplicates: time.Second, Retention: RetainResults,
	}
}

// Shared returns the stream of the jobs that share an analysis. It is small: a job has about 250
// bytes.
func Shared() Stream {
	return Stream{
		Name: "AUDIO_SHARED", Description: "jobs that wait for the analysis of another job with the same recording",
		Subjects: []string{AllShared}, Duplicates: time.Second, Retention: RetainLog, MaxBytes: 64 << 20,
	}
}

// Staging returns the stream of recordings on their way to the bucket, and of large results on
// their way to the database.
func Staging() Stream {
	return Stream{
		Name: "AUDIO_STAGING", Description: "bodies between the gateway and the bucket",
		Subjects: []string{AllStaging}, Duplicates: time.Second, Retention: RetainStaging,
	}
}
