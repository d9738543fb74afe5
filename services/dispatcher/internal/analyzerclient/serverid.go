package analyzerclient

import (
	"cmp"
	"encoding/json"
	"net/http"
	"strings"

	"sori.internal/services/dispatcher/internal/analysis"
)

// maxServerID is the largest length of the server's id of an analysis, in runes.
const maxServerID = 200

// ids are the members in which servers return the id of an analysis.
type ids struct {
	AnalysisJobID      json.RawMessage `json:"analysis_job_id"`
	CamelAnalysisJobID json.RawMessage `json:"analysisJobId"`
	AnalysisID         json.RawMessage `json:"analysis_id"`
	CamelAnalysisID    json.RawMessage `json:"analysisId"`
	JobID              json.RawMessage `json:"job_id"`
	CamelJobID         json.RawMessage `json:"jobId"`
	TaskID             json.RawMessage `json:"task_id"`
	CamelTaskID        json.RawMessage `json:"taskId"`
	ID                 json.RawMessage `json:"id"` // in an answer that wraps another, it may be the id of the request
}

// named returns the id in the first member but ID that has another one than the given job's; "" if none
// has.
func (i ids) named(job string) string {
	for _, raw := range []json.RawMessage{
		i.AnalysisJobID, i.CamelAnalysisJobID, i.AnalysisID, i.CamelAnalysisID, i.JobID, i.CamelJobID, i.TaskID, i.CamelTaskID,
	} {
		if id := serverID(raw); id != "" && id != job {
			return id
		}
	}
	return ""
}

// idsIn returns the ids in an object, and none in any other value.
func idsIn(raw json.RawMessage) (found ids) {
	if json.Unmarshal(raw, &found) != nil {
		return ids{}
	}
	return found
}

// parseServerID returns the server's id of the analysis from an acceptance, or "" if it has none.
//
//   - Some frameworks wrap every answer in a member result or data, which then has the id.
//   - The member id counts only if no other has an id, and not beside an error, since it may be that of
//     the request, as in JSON-RPC.
//   - The id of the given job counts only if no member but id has another one: many servers return it
//     beside their own id.
func parseServerID(answer []byte, job string) string {
	var a struct {
		Error  json.RawMessage `json:"error"`
		Result json.RawMessage `json:"result"`
		Data   json.RawMessage `json:"data"`
		Name   json.RawMessage `json:"name"`
	}
	if json.Unmarshal(answer, &a) != nil {
		return ""
	}
	all := []ids{idsIn(answer)}
	if !analysis.IsError(a.Error) {
		all = append(all, idsIn(a.Result), idsIn(a.Data))
	}
	for _, except := range []string{job, ""} {
		for _, i := range all {
			if id := i.named(except); id != "" {
				return id
			}
		}
	}
	if analysis.IsError(a.Error) {
		return ""
	}
	return cmp.Or(serverID(all[0].ID), serverID(all[1].ID), serverID(all[2].ID), operationID(a.Name))
}

// operationID returns the id in the name of a long-running operation, as Google's services return it:
// operations/17, or a longer path that ends so. It returns "" for any other name.
func operationID(name json.RawMessage) string {
	if _, id, ok := strings.Cut(serverID(name), "operations/"); ok {
		return id
	}
	return ""
}

// serverIDIn returns the server's id of the analysis from the headers of an acceptance that have the URL
// of its status: Operation-Location and Azure-AsyncOperation of Azure's services, and Location.
func (c *Client) serverIDIn(resp *http.Response) string {
	if !c.status.needsServerID() {
		return ""
	}
	for _, name := range []string{"Operation-Location", "Azure-AsyncOperation", "Location"} {
		if reference, err := resp.Request.URL.Parse(resp.Header.Get(name)); err == nil && resp.Header.Get(name) != "" {
			if id := c.status.serverIDIn(reference); id != "" {
				return id
			}
		}
	}
	return ""
}

// serverID returns an id, which may be a string or a number. The digits of a number are returned as
// the server sent them. It returns "" if raw is no id, or one that cannot be sent back.
func serverID(raw json.RawMessage) string {
	var number json.Number
	var text string
	switch {
	case json.Unmarshal(raw, &text) == nil:
	case json.Unmarshal(raw, &number) == nil:
		text = number.String()
	}
	if text != analysis.Sanitize(text, maxServerID) { // sanitizing would change the id
		return ""
	}
	return text
}
