package app_test

import (
	"encoding/json"
	"strings"
	"testing"

	"sori.internal/shared/event"
)

func TestACachedResultSaysSo(t *testing.T) {
	t.Parallel()
	c := open(t, nil)
	analysed, cached := c.job(), c.job()
	for _, j := range []*testJob{analysed, cached} {
		j.received()
		j.stored()
	}
	streams := []*stream{analysed.stream(analysed.progressURL(), nil), cached.stream(cached.progressURL(), nil)}
	analysed.attempted(1)
	analysed.completed(`{"score":1}`)
	cached.publish(event.Completed{JobID: cached.id, Result: json.RawMessage(`{"score":1}`), Cached: true, CachedFrom: analysed.id})
	for i, j := range []*testJob{analysed, cached} {
		a, isCached := j.awaitStatus("completed", 100), j == cached
		status := ""
		if isCached {
			status = "sori; hit"
		}
		if a.body.Cached != isCached || a.header.Get("Cache-Status") != status || string(a.body.Result) != `{"score":1}` {
			t.Errorf("%s, Cache-Status %q", a.raw, a.header.Get("Cache-Status"))
		}
		if again := j.get(j.resultURL(), map[string]string{"If-None-Match": a.header.Get("ETag")}); again.status != 304 || again.header.Get("Cache-Status") != status {
			t.Errorf("%d, Cache-Status %q", again.status, again.header.Get("Cache-Status"))
		}
		f := streams[i].next()
		for f.body.Status != "completed" {
			f = streams[i].next()
		}
		if strings.Contains(f.data, `"cached":true`) != isCached {
			t.Errorf("the last frame is %s", f.data)
		}
	}
	if listed := c.get(c.url+"/jobs/", nil).raw; strings.Count(listed, `"cached":true`) != 1 {
		t.Errorf("the list is %s", listed)
	}
}
