package config_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sori.internal/shared/config"
)

type nested struct {
	URL config.Secret `env:"NATS_URL,required"`
}

type settings struct {
	nested
	Nested   nested
	Addr     string        `env:"HTTP_ADDR" envDefault:":8000"`
	Grace    time.Duration `env:"GRACE" envDefault:"15s"`
	Limit    int           `env:"LIMIT,required"`
	Server   url.URL       `env:"SERVER"`
	Factor   float64       `env:"FACTOR"`
	rejected error
}

func (s *settings) Check() error { return s.rejected }

func TestAbsentAndEmptyVariablesTakeTheDefault(t *testing.T) {
	t.Parallel()
	var s settings
	err := config.Load(config.Map(map[string]string{"NATS_URL": "nats://h", "LIMIT": "3", "HTTP_ADDR": ""}), &s)
	if err != nil {
		t.Fatal(err)
	}
	if s.Addr != ":8000" || s.Grace != 15*time.Second || s.Limit != 3 || s.Nested.URL.Reveal() != "nats://h" {
		t.Fatalf("%+v", s)
	}
}

func TestASampleValueIsRefusedAndNotQuoted(t *testing.T) {
	t.Parallel()
	for _, sample := range []string{"change-me-too", "nats://u:CHANGE-ME@h", "changeme123"} {
		var s settings
		err := config.Load(config.Map(map[string]string{"NATS_URL": sample, "LIMIT": "1"}), &s)
		if err == nil || !strings.Contains(err.Error(), "NATS_URL has a sample value") || strings.Contains(err.Error(), sample) {
			t.Errorf("%s: %v", sample, err)
		}
	}
}

func TestEveryProblemIsReportedTogether(t *testing.T) {
	t.Parallel()
	var s settings
	err := config.Load(config.Map(map[string]string{"GRACE": "soon"}), &s)
	for _, name := range []string{"NATS_URL", "LIMIT", "GRACE"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s is not in %v", name, err)
		}
	}
}

func TestAMalformedSettingIsNamedByItsVariable(t *testing.T) {
	t.Parallel()
	var s settings
	err := config.Load(config.Map(map[string]string{"NATS_URL": "x", "GRACE": "20", "LIMIT": "many", "SERVER": "127.0.0.1:1", "FACTOR": "Inf"}), &s)
	text := fmt.Sprint(err)
	for _, want := range []string{`GRACE: unable to parse duration: time: missing unit in duration "20"`, `LIMIT: strconv.ParseInt: parsing "many"`, "SERVER: it is not a valid URL", "FACTOR: it is not a finite number"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not once in %s", want, text)
		}
	}
	if strings.Contains(text, "field") {
		t.Errorf("fields of the struct are named: %s", text)
	}
}

func TestTheStructsOwnRulesAreChecked(t *testing.T) {
	t.Parallel()
	s := settings{rejected: errors.New("too small")}
	err := config.Load(config.Map(map[string]string{"NATS_URL": "x", "LIMIT": "1"}), &s)
	if !errors.Is(err, s.rejected) {
		t.Fatalf("%v", err)
	}
}

func TestTheStructsOwnRulesAreReportedWithTheRest(t *testing.T) {
	t.Parallel()
	s := settings{rejected: errors.New("too small")}
	err := config.Load(config.Map(map[string]string{"NATS_URL": "x"}), &s)
	if !errors.Is(err, s.rejected) || !strings.Contains(fmt.Sprint(err), "LIMIT") {
		t.Fatalf("%v", err)
	}
}

func TestAURLThatCannotBeReadIsNotShown(t *testing.T) {
	t.Parallel()
	for text, ok := range map[string]bool{
		"http://user:hunter2@host/p?q=1": true, "http://user:hunter2@host:port/": false, "http://user:hunter2/3@host/": false, "http://hunter2@%zz/": false,
	} {
		var s settings
		err := config.Load(config.Map(map[string]string{"NATS_URL": "x", "LIMIT": "1", "SERVER": text}), &s)
		if (err == nil) != ok || strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: %v", text, err)
		}
		if ok && s.Server.String() != text {
			t.Errorf("%s became %s", text, s.Server.String())
		}
		if !ok && !strings.Contains(fmt.Sprint(err), "SERVER: it is not a valid URL") {
			t.Errorf("%v names no setting", err)
		}
	}
}

func TestASecretShowsItselfOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	s := config.Secret("hunter2")
	js, _ := json.Marshal(map[string]any{"s": s})
	for _, shown := range []string{fmt.Sprint(s), fmt.Sprintf("%v %+v %#v %s %q", s, s, s, s, s), string(js)} {
		if strings.Contains(shown, "hunter2") {
			t.Errorf("shown in %s", shown)
		}
	}
	if s.Reveal() != "hunter2" {
		t.Error("not revealed")
	}
}

type inner struct {
	Port int `env:"PORT" envDefault:"0"`
}

func (i *inner) Check() error {
	if i.Port == 0 {
		return errors.New("PORT is zero")
	}
	return nil
}

func TestRulesOfStructsWithinAreReportedToo(t *testing.T) {
	t.Parallel()
	var s struct {
		Inner inner
		Other int `env:"OTHER,required"`
	}
	err := config.Load(config.Map(nil), &s)
	for _, part := range []string{"PORT is zero", "OTHER"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%s is not in %v", part, err)
		}
	}
}

func TestEveryBrokenRuleIsReported(t *testing.T) {
	t.Parallel()
	var rules config.Rules
	rules.Check(true, "A must hold")
	if err := rules.Err(); err != nil {
		t.Errorf("no rule is broken: %v", err)
	}
	rules.Check(false, "B must be positive")
	rules.Check(false, "C must be a URL")
	if err := rules.Err(); err == nil || err.Error() != "B must be positive\nC must be a URL" {
		t.Errorf("reported: %v", err)
	}
}

func TestOnlyAbsoluteHTTPURLsAreOnes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"http://h": true, "https://h:1/p?q": true, "": false, "h": false, "/p": false, "//h": false, "ftp://h": false, "http:///p": false, "http:p": false,
	} {
		u, err := url.Parse(text)
		if err != nil || config.IsHTTP(*u) != want {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestAListIsReadWithAllOfItsErrors(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		list   []int
		errors int
	}{
		"": {}, " , ,": {}, "1": {[]int{1}, 0}, " 1 ,2,, 3 ": {[]int{1, 2, 3}, 0}, "1,x,2,y": {[]int{1, 2}, 2},
	} {
		list, err := config.ParseList([]byte(text), strconv.Atoi)
		broken := 0
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			broken = len(joined.Unwrap())
		}
		if !slices.Equal(list, want.list) || broken != want.errors || (err == nil) != (broken == 0) {
			t.Errorf("%q: %v, %v", text, list, err)
		}
	}
}
