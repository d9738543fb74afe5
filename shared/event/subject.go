package event

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// The prefixes of the subjects. All but staging begin with audio, so that `nats sub 'audio.>'` shows
// every event and no bytes.
const (
	jobsRoot     = "audio.jobs."
	progressRoot = "audio.progress."
	tokensRoot   = "audio.tokens."
	liveRoot     = "audio.live."
	deadRoot     = "audio.dead."
	replayRoot   = "audio.replay."
	stagingRoot  = "staging."
)

// Filters for consumers.
const (
	AllJobs     = jobsRoot + ">"
	AllProgress = progressRoot + ">"
	AllTokens   = tokensRoot + ">"
	AllDead     = deadRoot + ">"
	AllStaging  = stagingRoot + ">"
)

// Subject is the subject of an event: audio.jobs.<job>.<name>, for progress
// audio.progress.<job>.<name>, and audio.tokens.<token>.<name>.
func Subject(e Event) string { return rootOf(e.Name()) + EntityID(e) + "." + string(e.Name()) }

// rootOf is the prefix of the subjects of events with a name. A name that only a newer release knows
// counts as that of a state event.
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

// SubjectOf is the subject of a state event of a job.
func SubjectOf(job string, name Name) string { return jobsRoot + job + "." + string(name) }

// Filter matches the events with one name, of all jobs or all tokens.
func Filter(name Name) string { return rootOf(name) + "*." + string(name) }

// LogSubject matches the events of one job's log. NATS checks the expected sequences over this filter,
// so every publisher must use the same string.
func LogSubject(job string) string { return jobsRoot + job + ".>" }

// ProgressSubject matches the progress events of one job.
func ProgressSubject(job string) string { return progressRoot + job + ".>" }

// LiveSubject is the subject of the live updates of a job.
func LiveSubject(job string) string { return liveRoot + job }

// DeadSubject is the subject of the dead letters of a consumer.
func DeadSubject(consumer string) string { return deadRoot + consumer }

// ParseDeadSubject returns the consumer in the subject of a dead letter; empty for another subject.
func ParseDeadSubject(subject string) string {
	consumer, ok := strings.CutPrefix(subject, deadRoot)
	if !ok {
		return ""
	}
	return consumer
}

// ReplaySubject is the subject of requests to a consumer to handle an event of its stream again. No
// stream stores them.
func ReplaySubject(consumer string) string { return replayRoot + consumer }

// StagingSubject is the subject of one chunk of an entry of staging.
func StagingSubject(entry string, chunk int) string {
	return fmt.Sprintf("%s%s.%d", stagingRoot, entry, chunk)
}

// StagingFilter matches all chunks of an entry of staging.
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

// ParseSubject returns job and name in the subject of a job's event.
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

// parse takes the job or the token, and the name, out of an event's subject.
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
		if name = Name(last); rootOf(name) != root {
			break
		}
		return about, name, nil
	}
	return "", "", fmt.Errorf("subject %q is no event's", subject)
}

// identifies reports whether s can be an id below a root.
func identifies(root, s string) bool {
	if root == tokensRoot {
		id, err := strconv.ParseInt(s, 10, 64)
		return err == nil && id > 0
	}
	_, ok := ParseJobID(s)
	return ok
}

// Namespace keeps installations that share a server apart: it prefixes every
// subject and stream. Empty in production.
type Namespace string

var namespaceForm = regexp.MustCompile(`^[a-z0-9-]*$`)

// Check refuses what cannot be a token of a subject and of a stream's name.
func (n Namespace) Check() error {
	if !namespaceForm.MatchString(string(n)) {
		return fmt.Errorf("NATS_NAMESPACE %q: only a-z, 0-9 and - are allowed", string(n))
	}
	return nil
}

// Subject puts a subject into the namespace.
func (n Namespace) Subject(s string) string {
	if n == "" {
		return s
	}
	return string(n) + "." + s
}

// Strip takes a subject out of the namespace.
func (n Namespace) Strip(s string) string {
	if n == "" {
		return s
	}
	return strings.TrimPrefix(s, string(n)+".")
}

// Stream puts a stream's name into the namespace.
func (n Namespace) Stream(name string) string {
	if n == "" {
		return name
	}
	return string(n) + "_" + name
}
