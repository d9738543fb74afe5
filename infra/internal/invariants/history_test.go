package invariants

import (
	"encoding/json"
	"strings"
	"testing"

	"sori.internal/shared/event"
)

const job = "01890a5d-ac96-774b-bcce-b302099a8057"

// Short functions that return the events of a history.
func received() event.Event        { return event.Received{JobID: job} }
func stored() event.Event          { return event.Stored{JobID: job} }
func attempted(n int) event.Event  { return event.Attempted{JobID: job, Attempt: n} }
func dispatched(n int) event.Event { return event.Dispatched{JobID: job, Attempt: n} }
func lapsed(n int) event.Event     { return event.Lapsed{JobID: job, Attempt: n} }
func failed(n int) event.Event     { return event.Failed{JobID: job, Attempt: n} }
func retried(n int) event.Event    { return event.Retried{JobID: job, Attempt: n} }
func canceled() event.Event        { return event.Canceled{JobID: job} }
func expired() event.Event         { return event.Expired{JobID: job} }
func erased() event.Event          { return event.Erased{JobID: job} }
func completed(n int) event.Event {
	return event.Completed{JobID: job, Attempt: n, Result: json.RawMessage(`{}`)}
}

func TestEveryWayThatAJobMayTakeIsAHistory(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]History{
		"under way":                       {received(), stored(), attempted(1)},
		"straight":                        {received(), stored(), attempted(1), dispatched(1), completed(1)},
		"the callback is first":           {received(), stored(), attempted(1), completed(1)},
		"refused":                         {received(), stored(), attempted(1), failed(1)},
		"never stored":                    {received(), failed(0)},
		"canceled at once":                {received(), canceled()},
		"a second attempt":                {received(), stored(), attempted(1), dispatched(1), lapsed(1), attempted(2), dispatched(2), completed(2)},
		"given up by the deadline":        {received(), stored(), attempted(1), dispatched(1), lapsed(1), failed(1)},
		"lapsed, and reported after all":  {received(), stored(), attempted(1), dispatched(1), lapsed(1), completed(1)},
		"retried":                         {received(), stored(), attempted(1), failed(1), retried(2), attempted(2), dispatched(2), completed(2)},
		"retried before any attempt":      {received(), stored(), failed(0), retried(1), attempted(1), completed(1)},
		"retried, never asked, and again": {received(), stored(), attempted(1), failed(1), retried(2), failed(2), retried(3), canceled()},
		"what a newer release says":       {received(), event.Unreadable{JobID: job, Of: "archived"}},
		"erased at once":                  {received(), erased()},
		"erased under way":                {received(), stored(), attempted(1), erased()},
		"erased when it had ended":        {received(), stored(), attempted(1), completed(1), erased()},
		"erased when it had failed":       {received(), failed(0), erased()},
		"the recording has expired":       {received(), stored(), attempted(1), completed(1), expired()},
		"failed, the recording expired":   {received(), stored(), attempted(1), failed(1), expired()},
		"canceled, the recording expired": {received(), stored(), canceled(), expired()},
		"expired, then erased":            {received(), stored(), canceled(), expired(), erased()},
		"erased and forgotten":            {erased()},
		"erased and forgotten in part":    {attempted(2), completed(2), erased()},
	} {
		if err := h.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAHistoryThatCannotBeIsToldWithItsReason(t *testing.T) {
	t.Parallel()
	for reason, h := range map[string]History{
		"the first event is stored":                   {stored()},
		"received follows stored":                     {received(), stored(), received()},
		"expired follows attempted":                   {received(), stored(), attempted(1), expired()},
		"retried follows expired":                     {received(), stored(), attempted(1), failed(1), expired(), retried(2)},
		".received is said twice":                     {received(), received()},
		".stored is said twice":                       {received(), stored(), stored()},
		".attempted.1 is said twice":                  {received(), stored(), attempted(1), attempted(1)},
		"completed follows completed":                 {received(), stored(), attempted(1), completed(1), completed(1)},
		"dispatched follows completed":                {received(), stored(), attempted(1), completed(1), dispatched(1)},
		"retried follows completed":                   {received(), stored(), attempted(1), completed(1), retried(2)},
		"stored follows canceled":                     {received(), canceled(), stored()},
		"completed follows canceled":                  {received(), stored(), attempted(1), canceled(), completed(1)},
		"retried follows canceled":                    {received(), stored(), canceled(), retried(1)},
		"completed follows failed":                    {received(), stored(), attempted(1), failed(1), completed(1)},
		"canceled follows failed":                     {received(), stored(), failed(0), canceled()},
		"archived follows completed":                  {received(), completed(0), event.Unreadable{JobID: job, Of: "archived"}},
		"erased follows erased":                       {received(), erased(), erased()},
		"completed follows erased":                    {received(), stored(), attempted(1), erased(), completed(1)},
		"retried follows erased":                      {received(), erased(), retried(1)},
		"the first event is attempted":                {attempted(1), erased(), completed(1)},
		"retried follows dispatched":                  {received(), stored(), attempted(1), dispatched(1), retried(2)},
		"attempted is of attempt 1, the newest is 2":  {received(), stored(), attempted(2), attempted(1)},
		"retried is of attempt 1, the newest is 2":    {received(), stored(), attempted(2), failed(2), retried(1)},
		"completed is of attempt 1, the newest is 2":  {received(), stored(), attempted(1), lapsed(1), attempted(2), completed(1)},
		"dispatched is of attempt 2, the newest is 1": {received(), stored(), attempted(1), dispatched(2)},
		"failed is of attempt 1, the newest is 0":     {received(), stored(), failed(1)},
	} {
		if err := h.Check(); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("want %q, got %v", reason, err)
		}
	}
}

func TestHistoryRowAndObjectsMustAgree(t *testing.T) {
	t.Parallel()
	whole := History{received(), stored(), attempted(1), completed(1)}
	for name, c := range map[string]struct {
		history History
		status  string
		objects int
		reason  string // expected part of the error; empty if no error is expected
	}{
		"completed":               {whole, "completed", 1, ""},
		"failed before the store": {History{received(), failed(0)}, "failed", 0, ""},
		"the last ending counts":  {append(History{received(), stored(), failed(0), retried(1)}, attempted(1), completed(1)), "completed", 1, ""},
		"no ending":               {whole[:3], "processing", 1, "has not ended"},
		"another row":             {whole, "canceled", 1, `its row says "canceled"`},
		"no row":                  {whole, "", 1, `its row says ""`},
		"no object":               {whole, "completed", 0, "has 0 objects, want 1"},
		"an object too many":      {History{received(), canceled()}, "canceled", 1, "has 1 objects, want 0"},
		"erased":                  {append(whole[:4:4], erased()), "erased", 0, ""},
		"erased and forgotten":    {History{erased()}, "erased", 0, ""},
		"erased, and an object":   {append(whole[:4:4], erased()), "erased", 1, "has 1 objects, want 0"},
		"erased, and a whole row": {append(whole[:4:4], erased()), "completed", 0, `its row says "completed"`},
		"an impossible history":   {append(whole[:4:4], canceled()), "canceled", 1, "canceled follows completed"},
	} {
		err := compare(job, c.history, Row{Status: c.status}, c.objects)
		if (err == nil) != (c.reason == "") || err != nil && !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%s: want %q, got %v", name, c.reason, err)
		}
	}
}
