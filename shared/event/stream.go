package event

import "time"

// Retention says which settings bound a stream.
type Retention uint8

// The two: what the log of the jobs may hold, and what staging may.
const (
	RetainLog Retention = iota
	RetainStaging
)

// Stream describes a stream as data; package bus makes it.
//
// All keep messages by limits, in files, and refuse new ones when full rather
// than drop old ones: an upload that is refused can be repeated, an accepted
// one that is dropped is lost.
type Stream struct {
	Name        string
	Description string
	Subjects    []string
	Duplicates  time.Duration // window of deduplication by Nats-Msg-Id
	Retention   Retention
	MaxBytes    int64 // where it is not for the settings to say
}

// Jobs is the log of every job, with its progress.
func Jobs() Stream {
	return Stream{
		Name: "AUDIO_JOBS", Description: "the log of every job and its progress",
		Subjects: []string{AllJobs, AllProgress}, Duplicates: 5 * time.Minute, Retention: RetainLog,
	}
}

// Tokens keeps what was said of tokens. That is little: a deletion has some 300
// bytes.
func Tokens() Stream {
	return Stream{
		Name: "AUDIO_TOKENS", Description: "which tokens were deleted",
		Subjects: []string{AllTokens}, Duplicates: 5 * time.Minute, Retention: RetainLog, MaxBytes: 64 << 20,
	}
}

// Dead keeps what no retry can mend.
func Dead() Stream {
	return Stream{
		Name: "AUDIO_DEAD", Description: "messages that no retry can mend, by consumer",
		Subjects: []string{deadRoot + ">"}, Duplicates: 5 * time.Minute, Retention: RetainLog,
	}
}

// Staging holds bodies on their way to the bucket, and large results on their
// way to the database.
func Staging() Stream {
	return Stream{
		Name: "AUDIO_STAGING", Description: "bodies between the gateway and the bucket",
		Subjects: []string{AllStaging}, Duplicates: time.Second, Retention: RetainStaging,
	}
}
