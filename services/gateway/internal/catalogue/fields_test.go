package catalogue

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/objectstore"
)

// broken returns the violations of a *fault.Error, each as its pointer and its detail.
func broken(err error) []string {
	var rules []string
	if f, ok := errors.AsType[*fault.Error](err); ok {
		for _, v := range f.Violations {
			rules = append(rules, v.Pointer+" "+v.Detail)
		}
	}
	return rules
}

func TestATokenIsRefusedWithEveryRuleThatItBreaks(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("가", maxName+1)
	for body, want := range map[string][]string{
		`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1}`:                                                   nil,
		`{"token_name":"` + long[:3*maxName] + `","actor_name":"b","start_time":0,"end_time":0.1,"category":null,"more":1}`: nil,
		`{}`: {"/token_name is required", "/actor_name is required", "/start_time is required", "/end_time is required"},
		`{"token_name":" ","actor_name":null,"start_time":0,"end_time":1}`:                {"/token_name is required", "/actor_name is required"},
		`{"token_name":"\u200b\u2060","actor_name":"\u3164","start_time":0,"end_time":1}`: {"/token_name is required", "/actor_name is required"},
		`{"token_name":7,"actor_name":["b"],"start_time":"0","end_time":{}}`: {
			"/token_name must be a string", "/actor_name must be a string", "/start_time must be a number of seconds", "/end_time must be a number of seconds",
		},
		`{"token_name":"` + long + `","actor_name":"a\u0000","start_time":0,"end_time":1}`: {
			"/token_name must have at most 255 characters", "/actor_name must not contain control characters",
		},
		`{"token_name":"a","actor_name":"b","start_time":-1,"end_time":1}`:    {"/start_time must not be negative"},
		`{"token_name":"a","actor_name":"b","start_time":1,"end_time":1}`:     {"/end_time must be greater than start_time"},
		`{"token_name":"a","actor_name":"b","start_time":2,"end_time":1}`:     {"/end_time must be greater than start_time"},
		`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1e999}`: {"/end_time must be a number of seconds"},
		`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1,"s3_pitch_url":"ftp://h/p","s3_textgrid_url":"s3://b","youtube_url":"a\nb"}`: {
			"/s3_textgrid_url must be s3://bucket/key, an http or https URL, or a key",
			"/s3_pitch_url must be s3://bucket/key, an http or https URL, or a key", "/youtube_url must not contain control characters",
		},
	} {
		if _, err := DecodeToken([]byte(body), checkReference); !slices.Equal(broken(err), want) || (err == nil) != (want == nil) {
			t.Errorf("%.80s: %q, want %q", body, broken(err), want)
		}
	}
}

// checkReference allows the objects of one bucket.
func checkReference(ref string) error {
	_, err := objectstore.Config{Bucket: "b"}.Resolve(ref)
	return err
}

func TestAScriptIsRefusedWithEveryRuleThatItBreaks(t *testing.T) {
	t.Parallel()
	for body, want := range map[string][]string{
		`{"token_id":1,"script":"a\n\tb","start_time":0,"end_time":1}`: nil,
		`{}`: {"/token_id is required", "/script is required", "/start_time is required", "/end_time is required"},
		`{"token_id":0,"script":"a","start_time":0,"end_time":1}`:                    {"/token_id must be a positive integer"},
		`{"token_id":1.5,"script":"a","start_time":0,"end_time":1}`:                  {"/token_id must be a positive integer"},
		`{"token_id":"1","script":"a","start_time":0,"end_time":1}`:                  {"/token_id must be a positive integer"},
		`{"token_id":9223372036854775808,"script":"a","start_time":0,"end_time":1}`:  {"/token_id must be a positive integer"},
		`{"token_id":1,"script":"a\u0007","start_time":0,"end_time":1}`:              {"/script must not contain control characters"},
		`{"token_id":1,"script":"a","translation":7,"start_time":0,"end_time":1}`:    {"/translation must be a string"},
		`{"token_id":1,"script":"a","translation":"  ","start_time":0,"end_time":1}`: nil,
	} {
		if _, err := DecodeScript([]byte(body)); !slices.Equal(broken(err), want) || (err == nil) != (want == nil) {
			t.Errorf("%s: %q, want %q", body, broken(err), want)
		}
	}
}

func TestABodyThatIsNoJSONIsMalformedAndOneThatIsNoObjectBreaksARule(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]fault.Kind{
		"": fault.Malformed, "{": fault.Malformed, `{"name":"` + "\xff" + `"}`: fault.Malformed, `{}{}`: fault.Malformed,
		"null": fault.Invalid, "[]": fault.Invalid, `"a"`: fault.Invalid, "7": fault.Invalid,
	} {
		if _, err := DecodeActor([]byte(body)); fault.KindOf(err) != want {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestNamesAreStoredInOneForm(t *testing.T) {
	t.Parallel()
	composed := "하나"
	decomposed := "\u1112\u1161\u1102\u1161"
	for _, name := range []string{composed, decomposed, "  " + composed + "\u3000"} {
		a, err := DecodeActor([]byte(`{"name":"` + name + `"}`))
		if err != nil || a.Name != composed {
			t.Errorf("%q: %q, %v", name, a.Name, err)
		}
	}
}
