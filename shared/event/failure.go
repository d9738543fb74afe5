package event

import "regexp"

// Codes of failures that more than one package uses. FailureCodes lists every code with which a job
// can fail.
const (
	CodeAnalysisFailed   = "analysis-failed"   // also used if the analysis server reports no code
	CodeAnalysisRejected = "analysis-rejected" // the analysis server refused the request
	CodeAnalysisTimeout  = "analysis-timeout"
	CodeDispatchTimeout  = "dispatch-timeout"
	CodeLogLost          = "log-lost"      // no event of the job is stored any more
	CodeStagingLost      = "staging-lost"  // the recording is no longer in staging
	CodeUnprojectable    = "unprojectable" // an event of the job could not be merged into the job's record

	CodeFetchFailed  = "fetch-failed"          // the server of the source did not send the recording
	CodeFetchRefused = "fetch-refused-address" // the address of the source may not be reached
	CodeFetchTooBig  = "fetch-too-large"
	CodeFetchTimeout = "fetch-timeout"
)

// FailureCode describes a code with which jobs fail.
type FailureCode struct {
	Code string
	// Retryable means that the same job may succeed later. A report of an analysis server can
	// override it.
	Retryable bool
	// Server means that an analysis server may report the code. The other codes are reserved for
	// failures of Sori itself.
	Server bool
}

// FailureCodes lists every code with which a job can fail, except those that an analysis server
// defines itself.
func FailureCodes() []FailureCode {
	return []FailureCode{
		{Code: "unsupported-codec", Server: true}, // the codec is known but cannot be decoded
		{Code: "unsupported-audio", Server: true}, // not audio
		{Code: "no-audio", Server: true},          // nothing in the file can be decoded
		{Code: "audio-too-long", Server: true},    //
		{Code: "audio-too-large", Server: true},
		{Code: "analysis-crashed", Server: true},      // the decoder crashed or exceeded its memory
		{Code: "decode-limit-exceeded", Server: true}, // the decoder exceeded its time
		{Code: "audio-unreachable", Server: true, Retryable: true},
		{Code: CodeAnalysisFailed, Server: true, Retryable: true},
		{Code: CodeAnalysisTimeout, Server: true, Retryable: true},
		{Code: "analysis-unavailable", Server: true, Retryable: true},
		{Code: CodeAnalysisRejected, Server: true},

		{Code: CodeDispatchTimeout, Retryable: true}, // retryable, since the recording is already stored
		{Code: CodeStagingLost},

		{Code: CodeFetchFailed, Retryable: true}, // a failure is not retryable if the server of the source refused the request
		{Code: CodeFetchRefused},
		{Code: CodeFetchTooBig},
		{Code: CodeFetchTimeout, Retryable: true},
		{Code: "digest-mismatch"},
		{Code: "empty-file"},
		{Code: "source-unreadable"}, // the secret that encrypts sources was changed after the upload

		{Code: "recording-unknown"},
		{Code: "reference-invalid"},
		{Code: "reference-foreign"},
		{Code: "reference-not-allowed"},
		{Code: "object-not-found"},
		{Code: "unreadable-event"},
		{Code: "unexpected-event"},
		{Code: CodeUnprojectable},
		{Code: CodeLogLost},
		{Code: "internal", Retryable: true},
	}
}

// FailureCodeOf returns the description of a code, and whether Sori defines the code.
func FailureCodeOf(code string) (FailureCode, bool) {
	for _, c := range FailureCodes() {
		if c.Code == code {
			return c, true
		}
	}
	return FailureCode{}, false
}

// maxFailureCode is the length of the longest code that an analysis server may report, in bytes.
const maxFailureCode = 64

// kebab matches codes: words of lower-case letters and digits, joined by hyphens.
var kebab = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)

// ServerFailureCode reports whether an analysis server may report a code: the code must be in kebab
// case, have at most 64 characters, and not be reserved for Sori.
func ServerFailureCode(code string) bool {
	if len(code) > maxFailureCode || !kebab.MatchString(code) {
		return false
	}
	known, ours := FailureCodeOf(code)
	return !ours || known.Server
}
