package upload

import (
	"fmt"
	"strings"

	"sori.internal/shared/fault"
)

// malformed returns the failure of a form that cannot be read. Programs use the reason; package
// locale has its sentence in Korean.
func malformed(reason, detail string, cause error) error {
	return &fault.Error{
		Kind: fault.Malformed, Code: "malformed-multipart", Detail: detail, Err: cause,
		Extra: map[string]any{"reason": reason},
	}
}

func noBoundary() error {
	return malformed("no-boundary", "The Content-Type names no boundary. "+
		"Do not set the Content-Type yourself: the HTTP library sets it together with its boundary.", nil)
}

func badBoundary() error {
	return malformed("bad-boundary", "The boundary in the Content-Type cannot be used. There must be only one, of 1 to 70 characters.", nil)
}

func emptyBody(cause error) error {
	return malformed("empty-body", "The body of the request is empty.", cause)
}

func boundaryNotFound(cause error) error {
	return malformed("boundary-not-found", "The boundary that the Content-Type names is not in the body. The two do not belong together.", cause)
}

func truncated(cause error) error {
	return malformed("cut-short", "The body ends before its closing boundary. The upload was cut short.", cause)
}

func malformedPart(cause error) error {
	return malformed("malformed-part", "The form has a part whose header cannot be read.", cause)
}

func tooMuchBesideFile() error {
	return malformed("too-much-beside", "The form holds more than 128 KiB beside the file.", nil)
}

func oneChunk() error {
	return malformed("chunk", "The form has only a chunk of a file. Turn chunking off in your upload library, or use a resumable upload (GET /limits).", nil)
}

// notMultipart returns the failure of a request with another Content-Type.
func notMultipart(mediaType string) error {
	if mediaType == "" {
		return fault.New(fault.Unsupported, "not-multipart",
			`The request has no Content-Type. Send multipart/form-data with the file in a part named "file".`)
	}
	return &fault.Error{
		Kind: fault.Unsupported, Code: "not-multipart", Extra: map[string]any{"content_type": mediaType},
		Detail: fmt.Sprintf(`The request's Content-Type is %s. Send multipart/form-data with the file in a part named "file".`, mediaType),
	}
}

// names are the names of parts.
type names []string

// String implements fmt.Stringer. It returns the names in quotes, for use in a sentence.
func (n names) String() string { return `"` + strings.Join(n, `", "`) + `"` }

// noFile returns the failure of a form without a part named file. The failure lists the names of
// the parts.
func noFile(seen names) error {
	if len(seen) == 0 {
		return fault.New(fault.Invalid, "file-missing", `The form is empty. Send the file in a part named "file".`)
	}
	return &fault.Error{
		Kind: fault.Invalid, Code: "file-missing", Extra: map[string]any{"fields": seen},
		Detail: fmt.Sprintf(`The form has no part named "file". Its parts are named %s.`, seen),
	}
}

// encodedBody returns the failure of a body that has a Content-Encoding.
func encodedBody(encoding string) error {
	return &fault.Error{
		Kind: fault.Unsupported, Code: codeEncoding, Extra: map[string]any{"encoding": encoding},
		Detail: "The upload has a Content-Encoding. Send it without one.",
	}
}

// encodedFile returns the failure of a file that has a Content-Transfer-Encoding.
func encodedFile(encoding string) error {
	return &fault.Error{
		Kind: fault.Unsupported, Code: codeEncoding, Extra: map[string]any{"encoding": encoding},
		Detail: "The file is encoded as its Content-Transfer-Encoding says. Send its bytes as they are.",
	}
}

const codeEncoding = "unsupported-encoding"

// IsEncoded reports whether err refuses an upload because of its Content-Encoding, or the
// Content-Transfer-Encoding of its file.
func IsEncoded(err error) bool { return err != nil && fault.As(err).Code == codeEncoding }

// tooLarge returns the failure of a recording that is too large for a form. The recording has at
// least size bytes. If the recording can be sent to the bucket, the failure contains that advice.
func (l Limits) tooLarge(size int64) error {
	f := fault.As(fault.ExceedsLimit("file", l.MaxBytes, nil))
	if size <= l.DirectBytes {
		f.Extra["way"], f.Extra["way_max_bytes"] = "s3-multipart", l.DirectBytes
		f.Detail += fmt.Sprintf(" A file of up to %d bytes can be sent in parts: POST /s3/multipart.", l.DirectBytes)
	}
	return f
}

// maxDisplayed is the maximal length of a client's text in a sentence, in characters.
const maxDisplayed = 64

// displayable returns the text of a client in a form that can be shown in a sentence.
func displayable(s string) string { return firstRunes(cleanText(s), maxDisplayed) }
