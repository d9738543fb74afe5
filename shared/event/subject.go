package event

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The prefixes of the subjects. The subjects of events, live updates, dead letters and replays
// begin with audio, so that `nats sub 'audio.>'` shows every event. The other subjects do not begin
// with audio, so that this command shows neither staged bodies nor the state that services store.
const (
	jobsRoot     = "audio.jobs."
	progressRoot = "audio.progress."
	tokensRoot   = "audio.tokens."
	liveRoot     = "audio.live."
	deadRoot     = "audio.dead."
	replayRoot   = "audio.replay."
	stagingRoot  = "staging."
	queueRoot    = "queue."
	uploadsRoot  = "uploads."
	resultsRoot  = "results."
	sharedRoot   = "shared."
)

// LimitsSubject is the subject on which the replicas of the gateway publish how much of their
// limits the clients use. No stream stores these messages.
const LimitsSubject = "limits.usage"

// Filters for consumers.
const (
	AllJobs     = jobsRoot + ">"
	AllProgress = progressRoot + ">"
	AllTokens   = tokensRoot + ">"
	AllDead     = deadRoot + ">"
	AllStaging  = stagingRoot + ">"
	AllQueue    = queueRoot + "*"
	AllUploads  = uploadsRoot + ">"
	AllResults  = resultsRoot + ">"
	AllShared   = sharedRoot + ">"
)

// Subject returns the subject of an event: audio.jobs.<job>.<name>, audio.progress.<job>.<name> for
// progress, or audio.tokens.<token>.<name>.
func Subject(e Event) string { return rootOf(e.Name()) + EntityID(e) + "." + string(e.Name()) }

// rootOf returns the prefix of the subjects of events with a name. A name that only a newer release
// knows counts as the name of a state event.
func rootOf(n Name) string {
	switch {
	case n.Progress():
		return progressRoot
	case n == NameDeleted:
		return tokensRoot
	default:
		return jobsRoot
	}
}

// SubjectOf returns the subject of a state event of a job.
func SubjectOf(job string, name Name) string { return jobsRoot + job + "." + string(name) }

// Filter returns a filter for the events with one name, of all jobs or all tokens.
func Filter(name Name) string { return rootOf(name) + "*." + string(name) }

// LogSubject returns a filter for the events of one job's log. NATS checks the expected sequences
// with this filter, so every publisher must use the same string.
func LogSubject(job string) string { return jobsRoot + job + ".>" }

// ProgressSubject returns a filter for the progress events of one job.
func ProgressSubject(job string) string { return progressRoot + job + ".>" }

// LiveSubject returns the subject of the live updates of a job.
func LiveSubject(job string) string { return liveRoot + job }

// DeadSubject returns the subject of the dead letters of a consumer.
func DeadSubject(consumer string) string { return deadRoot + consumer }

// ParseDeadSubject returns the consumer in the subject of a dead letter, or "" for another subject.
func ParseDeadSubject(subject string) string {
	consumer, ok := strings.CutPrefix(subject, deadRoot)
	if !ok {
		return ""
	}
	return consumer
}

// ReplaySubject returns the subject of requests to a consumer to handle an event of its stream
// again. No stream stores these requests.
func ReplaySubject(consumer string) string { return replayRoot + consumer }

// StagingSubject returns the subject of one chunk of an entry of staging.
func StagingSubject(entry string, chunk int) string {
	return fmt.Sprintf("%s%s.%d", stagingRoot, entry, chunk)
}

// StagingFilter returns a filter for all chunks of an entry of staging.
func StagingFilter(entry string) string { return stagingRoot + entry + ".>" }

// ParseStagingSubject returns the entry in the subject of a chunk.
func ParseStagingSubject(subject string) (entry string, ok bool) {
	rest, ok := strings.CutPrefix(subject, stagingRoot)
	if !ok {
		return "", false
	}
	entry, _, ok = strings.Cut(rest, ".")
	return entry, ok && entry != ""
}

// QueueSubject returns the subject of the attempts of one owner's jobs that wait in the queue. key
// is the OwnerKey of the owner.
func QueueSubject(key string) string { return queueRoot + key }

// ParseQueueSubject returns the OwnerKey in a subject of the queue.
func ParseQueueSubject(subject string) string { return strings.TrimPrefix(subject, queueRoot) }

// UploadWay is the way in which a client sends a recording to the bucket.
type UploadWay string

// The ways.
const (
	WayMultipart UploadWay = "multipart" // to S3 in parts
	WayForm      UploadWay = "form"      // to S3 in one request
	WayTus       UploadWay = "tus"       // through the uploader, resumable

	// WaySpent is no longer an upload. It is either a form whose job has begun (its record stays,
	// because S3 accepts the form until it expires), or a partial tus upload that is now part of
	// another upload.
	WaySpent UploadWay = "spent"
)

// UploadsOf returns the filter of all unfinished uploads of one UploadWay.
func UploadsOf(way UploadWay) string { return uploadsRoot + string(way) + ".*.*" }

// UploadsOfOwner returns the filter of all unfinished uploads of an owner.
func UploadsOfOwner(owner string) string { return uploadsRoot + "*." + OwnerKey(owner) + ".*" }

// UploadSubject returns the subject of an unfinished upload of an owner. job is the id of the job
// that begins when the upload is complete.
func UploadSubject(way UploadWay, owner, job string) string {
	return uploadsRoot + string(way) + "." + OwnerKey(owner) + "." + job
}

// ParseUploadSubject returns the job in the subject of an unfinished upload.
func ParseUploadSubject(subject string) (job string, ok bool) {
	if !strings.HasPrefix(subject, uploadsRoot) {
		return "", false
	}
	return ParseJobID(subject[strings.LastIndex(subject, ".")+1:])
}

// OwnerKey returns the token that stands for an owner in subjects, which allow fewer characters
// than owners. It is a hash of 64 bits, so a collision of two owners is very unlikely.
func OwnerKey(owner string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:8])
}

// ResultSubject returns the subject of one chunk of the cached result of a job. key is the key in
// the cache: a hash of everything that determines the result.
func ResultSubject(token int64, key, job string, chunk int) string {
	return fmt.Sprintf("%s%d.%s.%s.%d", resultsRoot, token, key, job, chunk)
}

// ResultsOfKey returns a filter for the chunks of all results that are cached under a key.
func ResultsOfKey(token int64, key string) string {
	return fmt.Sprintf("%s%d.%s.*.*", resultsRoot, token, key)
}

// ResultsOfJob returns a filter for the chunks of the cached results of a job.
func ResultsOfJob(job string) string { return resultsRoot + "*.*." + job + ".*" }

// ParseResultSubject returns the job in the subject of a chunk of a cached result.
func ParseResultSubject(subject string) (job string, ok bool) {
	parts := strings.Split(subject, ".")
	if len(parts) != 5 || parts[0]+"." != resultsRoot {
		return "", false
	}
	return ParseJobID(parts[3])
}

// The roles of the jobs that share an analysis.
const (
	leads   = ".leader."
	follows = ".follower."
)

// LeaderSubject returns the subject of the leader: the job that is analysed for all jobs with the
// same key. With "*" for the key or the job it is a filter.
func LeaderSubject(key, job string) string { return sharedRoot + key + leads + job }

// FollowerSubject returns the subject of a follower: a job that waits for the analysis of the
// leader with the same key. With "*" for the job it is a filter.
func FollowerSubject(key, job string) string { return sharedRoot + key + follows + job }

// ParseSharedSubject returns the key and the job in the subject of a job that shares an analysis.
func ParseSharedSubject(subject string) (key, job string, ok bool) {
	rest, _ := strings.CutPrefix(subject, sharedRoot)
	for _, role := range []string{leads, follows} {
		if key, job, found := strings.Cut(rest, role); found {
			job, ok = ParseJobID(job)
			return key, job, ok
		}
	}
	return "", "", false
}

// ParseSubject returns the job and the name in the subject of a job's event. The name may be unknown,
// since the subject may be that of an event of a newer release.
func ParseSubject(subject string) (job string, name Name, err error) {
	job, name, err = parse(subject)
	if err == nil && name == NameDeleted {
		err = fmt.Errorf("subject %q names no job", subject)
	}
	if err != nil {
		return "", "", err
	}
	return job, name, nil
}

// parse returns the job or the token, and the name, in the subject of an event.
func parse(subject string) (about string, name Name, err error) {
	for _, root := range []string{jobsRoot, progressRoot, tokensRoot} {
		rest, ok := strings.CutPrefix(subject, root)
		if !ok {
			continue
		}
		about, last, found := strings.Cut(rest, ".")
		if !found || !identifies(root, about) {
			return "", "", fmt.Errorf("subject %q names no job and no token", subject)
		}
		name = Name(last)
		if rootOf(name) == root || root == progressRoot && !name.known() { // the event of a newer release
			return about, name, nil
		}
		break
	}
	return "", "", fmt.Errorf("subject %q is no event's", subject)
}

// identifies reports whether s can be the id of a job or a token, according to the root.
func identifies(root, s string) bool {
	if root == tokensRoot {
		id, err := strconv.ParseInt(s, 10, 64)
		return err == nil && id > 0
	}
	_, ok := ParseJobID(s)
	return ok
}

// Namespace separates installations that share a server: it prefixes every subject and stream. It
// is empty in production.
type Namespace string

var namespaceForm = regexp.MustCompile(`^[a-z0-9-]*$`)

// Check returns an error if the namespace cannot be the first part of a subject and of a stream's
// name.
func (n Namespace) Check() error {
	if !namespaceForm.MatchString(string(n)) {
		return fmt.Errorf("NATS_NAMESPACE %q: only a-z, 0-9 and - are allowed", string(n))
	}
	return nil
}

// Subject adds the namespace to a subject.
func (n Namespace) Subject(s string) string {
	if n == "" {
		return s
	}
	return string(n) + "." + s
}

// Strip removes the namespace from a subject.
func (n Namespace) Strip(s string) string {
	if n == "" {
		return s
	}
	return strings.TrimPrefix(s, string(n)+".")
}

// Stream adds the namespace to the name of a stream.
func (n Namespace) Stream(name string) string {
	if n == "" {
		return name
	}
	return string(n) + "_" + name
}
