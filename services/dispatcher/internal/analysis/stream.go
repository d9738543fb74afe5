package analysis

import (
	"bytes"
	"encoding/json"
)

// lastOfStream returns the last object of a stream of JSON objects: lines that are an object each
// (NDJSON), or server-sent events. A server that streams its progress in the answer to a request ends
// the stream with the outcome. lastOfStream returns nil if the text is no such stream.
func lastOfStream(text []byte, mediaType string) []byte {
	if mediaType == "text/event-stream" {
		return lastEvent(text)
	}
	if bytes.IndexByte(text, '\n') < 0 {
		return nil // one object, which may be large, is not scanned here
	}
	var last []byte
	objects := 0
	for line := range bytes.Lines(text) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if !isJSONObject(line) {
			return nil // most texts are one object over several lines: only their first line is looked at
		}
		last = line
		objects++
	}
	if objects < 2 {
		return nil
	}
	return last
}

// lastEvent returns the data of the last server-sent event with a JSON object, or nil if there is none.
// Some servers end their stream with an event that has other data, such as [DONE].
func lastEvent(text []byte) []byte {
	var last, data []byte
	end := func() {
		if data = bytes.TrimSpace(data); isJSONObject(data) {
			last = data
		}
		data = nil
	}
	for line := range bytes.Lines(text) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			end()
		} else if more, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(append(data, more...), '\n')
		}
	}
	end()
	return last
}

// isJSONObject reports whether a text is one JSON object, in which NaN and infinities are allowed.
func isJSONObject(text []byte) bool {
	if !isObject(text) {
		return false
	}
	if json.Valid(text) {
		return true
	}
	fixed, found := replaceNonFinite(text)
	return found && json.Valid(fixed)
}

// onlyElement returns the object in an array of one object: servers that handle several recordings at
// once answer with an array. It returns any other text unchanged.
func onlyElement(text []byte) []byte {
	if len(text) < 2 || text[0] != '[' || text[len(text)-1] != ']' {
		return text
	}
	if element := bytes.TrimSpace(text[1 : len(text)-1]); isJSONObject(element) {
		return element
	}
	return text
}
