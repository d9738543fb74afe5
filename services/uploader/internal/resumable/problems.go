package resumable

import (
	"time"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// OffsetMismatch returns the error for a request whose offset is not the end of the upload.
func OffsetMismatch() *fault.Error {
	return fault.New(fault.Conflict, "offset-mismatch", "The upload does not end at this offset. Please ask for its offset and continue there.")
}

func superseded() error {
	return fault.Wrap(fault.Conflict, "upload-superseded",
		"Another request has continued this upload. Please ask for its offset and continue there.", event.ErrLogConflict)
}

func checksumMismatch() error {
	return fault.New(fault.ChecksumMismatch, "checksum-mismatch", "The bytes of the request are not those of its checksum. None of them count.")
}

func tooManyParts() error {
	return fault.New(fault.Invalid, "too-many-parts", "The upload was interrupted too often. Please begin it again.")
}

// NotFinished returns the error for a request that concatenates partial uploads of which one is not
// complete.
func NotFinished() error {
	return fault.New(fault.Malformed, "upload-not-finished", "One of the partial uploads is not finished.")
}

// NotPartial returns the error for a request that concatenates an upload that is not partial.
func NotPartial() error {
	return fault.MalformedRequest("Only partial uploads can be concatenated. One of the uploads was begun without Upload-Concat: partial.", nil)
}

// NamedTwice returns the error for a request that names a partial upload twice. With one upload of some
// megabytes, a request of 16 KiB could otherwise make S3 and the uploader copy and read gigabytes.
func NamedTwice() error {
	return fault.MalformedRequest("A partial upload is named twice. Each can be concatenated once.", nil)
}

// completed returns the error for a request that removes an upload that has become a job.
func completed() error {
	return fault.New(fault.NotFound, "upload-not-found", "The upload is complete and has become a job. Please cancel or erase the job.")
}

// concatenated returns the error for a request that concatenates a partial upload again, but not
// with the same others, not for the same token, or after the job was erased.
func concatenated() error {
	return fault.MalformedRequest("One of the partial uploads has already been concatenated otherwise. Its bytes are removed: please send them again.", nil)
}

func tooManyWriters() error {
	return &fault.Error{
		Kind: fault.Exhausted, Code: "busy", RetryAfter: time.Second,
		Detail: "Too many uploads are under way. Please try again.",
	}
}
