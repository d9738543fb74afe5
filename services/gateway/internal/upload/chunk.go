package upload

import (
	"strconv"
	"strings"
)

// countsChunks reports whether a field of a form says that the file of the form is one of several
// chunks of a file. Upload libraries send such forms if the page turns chunking on. Every chunk of an
// MP3 file can be decoded, so without this check each of them would become a job.
func countsChunks(name, value string) bool {
	switch name {
	case "dztotalchunkcount", // Dropzone
		"resumableTotalChunks", // Resumable.js
		"flowTotalChunks",      // Flow.js
		"totalChunks",          // simple-uploader.js
		"chunks",               // Plupload
		"qqtotalparts",         // Fine Uploader
		"total-chunk":          // Syncfusion
		n, err := strconv.Atoi(value)
		return err == nil && n > 1
	}
	return false
}

// isWhole reports whether a Content-Range (RFC 9110, section 14.4) is that of a whole file. jQuery
// File Upload describes chunks by this header.
func isWhole(contentRange string) bool {
	bytes, size, _ := strings.Cut(strings.TrimPrefix(contentRange, "bytes "), "/")
	n, err := strconv.ParseInt(size, 10, 64)
	return err == nil && bytes == "0-"+strconv.FormatInt(n-1, 10)
}
