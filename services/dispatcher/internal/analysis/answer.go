package analysis

import (
	"bytes"
	"encoding/json"
	"strings"
)

// outcome parses the answer to a request. A server that finishes the analysis before it answers
// sends the outcome in the answer. outcome returns nil if the answer only accepts the request:
//
//   - Results that are a string or a number are not an outcome, and neither are results that only
//     acknowledge the request, nor the status "ok" alone: servers accept requests with all of them.
//   - An error without a known status is a failure only if the answer contains no id of the analysis:
//     without an id, the server has not begun an analysis. Some servers send the HTTP status of the
//     error as status.
//
// outcome returns an error if the answer may be the outcome and cannot be parsed. An answer whose end is
// missing is an outcome only if its object is complete: some servers keep a stream open after its last
// event, or state a wrong Content-Length. An array may have the
// results of an analysis, and a page of HTML is usually the answer of a proxy, which has not forwarded
// the request. Any other text accepts the request.
func (a Acceptance) outcome() (*report, error) {
	if a.Unread != nil {
		if r, err := (Acceptance{Answer: a.Answer}).outcome(); r != nil && err == nil {
			return r, nil
		}
		return nil, a.Unread
	}
	if !bytes.ContainsAny(a.Answer[:min(len(a.Answer), 1)], "{[<") {
		return nil, nil
	}
	f, err := parseFields(a.Answer)
	if err != nil {
		return nil, err
	}
	f = f.reported()
	var r report
	switch status, _ := f.status(); {
	case status == statusCompleted && structured(unquote(f.Results)) && !acknowledge(f.Results):
		r = f.completed()
	case f.stated() == statusFailed, f.stated() == "" && status != statusCompleted && a.ServerID == "" && f.saysError():
		r = f.failed()
	default:
		return nil, nil
	}
	return &r, nil
}

// acknowledge reports whether the results in an answer only acknowledge a request: they have an id of
// the analysis or the status that it is running, and nothing else but a progress and a message. Some
// frameworks, such as ASP.NET Boilerplate, wrap every answer in a member result.
func acknowledge(results json.RawMessage) bool {
	const longest = 1 << 10 // bytes of an acknowledgement
	var members map[string]json.RawMessage
	if len(results) > longest || json.Unmarshal(unquote(results), &members) != nil {
		return false
	}
	acknowledges := false
	for name, value := range members {
		switch strings.NewReplacer("-", "", "_", "").Replace(strings.ToLower(name)) {
		case "jobid", "taskid", "requestid", "analysisjobid", "analysisid", "id":
			acknowledges = true
		case "message", "progress":
		case "status", "state":
			switch (fields{Status: value}).stated() {
			case statusProcessing:
				acknowledges = true
			case statusCompleted, statusFailed:
				return false
			}
		default:
			return false
		}
	}
	return acknowledges
}
