package catalogue_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"sori.internal/services/gateway/internal/catalogue"
	"sori.internal/shared/fault"
)

// decode decodes a token with one more member. References to another host are foreign, and
// references that begin with "secret" are not allowed.
func decode(member, value string) (catalogue.Token, error) {
	body := fmt.Sprintf(`{"token_name":"a","actor_name":"b","start_time":0,"end_time":1,%q:%q}`, member, value)
	return catalogue.DecodeToken([]byte(body), func(ref string) error {
		switch {
		case strings.Contains(ref, "://"):
			return fault.New(fault.Unsupported, "reference-foreign", "It is of another host.")
		case strings.HasPrefix(ref, "secret"):
			return fault.New(fault.Invalid, "reference-not-allowed", "It is a secret.")
		case ref == "/":
			return fault.New(fault.Invalid, "reference-invalid", "It is none.")
		default:
			return nil
		}
	})
}

func violations(err error) string {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return ""
	}
	all := make([]string, len(f.Violations))
	for i, v := range f.Violations {
		all[i] = v.Pointer + " " + v.Detail
	}
	return strings.Join(all, "; ")
}

func TestOnlyLinksThatAreSafeToFollowAreStored(t *testing.T) {
	t.Parallel()
	for link, why := range map[string]string{
		"https://youtu.be/x?t=1#a": "", "http://example.com:8080/": "", "youtu.be/x": "", "제목: 인사": "", " https://youtu.be/x ": "",
		"https://1.1.1.1/": "", "https://[2606:4700:4700::1111]/": "", "https://한국.example/": "",
		"javascript:alert(1)": "scheme", "JavaScript:alert(1)": "scheme", " javascript:alert(1)": "scheme", "data:text/html,x": "scheme",
		"vbscript:x": "scheme", "file:///etc/passwd": "scheme", "https:": "scheme", "https:///x": "scheme", "http://%zz/": "scheme",
		"https://user:password@example.com/": "private", "https://user@example.com/": "private",
		"http://127.0.0.1/": "private", "http://localhost:8000/": "private", "http://a.localhost./": "private", "http://10.0.0.1/": "private",
		"http://192.168.1.1/": "private", "http://169.254.169.254/latest/meta-data": "private", "http://0.0.0.0/": "private",
		"http://[::1]/": "private", "http://[fe80::1]/": "private", "http://[fd00::1]/": "private", "http://[::ffff:127.0.0.1]/": "private",
		"http://2130706433/": "private", "http://0x7f.1/": "private", "http://127.1/": "private", "http://0x7f000001/": "private",
		"http://224.0.0.1/": "private", "http://100.64.0.1/": "private", "http://[64:ff9b::7f00:1]/": "private", "http://198.18.0.1/": "private",
		"http://192.0.0.8/": "private", "http://[2002:7f00:1::]/": "private",
		"//evil.example/": "scheme", "//user:password@example.com/": "scheme", `\\evil.example\`: "scheme", `/\evil.example/`: "scheme",
	} {
		t.Run(link, func(t *testing.T) {
			t.Parallel()
			token, err := decode("youtube_url", link)
			got := violations(err)
			if why == "" && (err != nil || *token.YouTubeURL != strings.TrimSpace(link)) || why != "" && !strings.Contains(got, why) {
				t.Errorf("%v, %s", err, got)
			}
		})
	}
}

func TestAReferenceIsRefusedWithItsReason(t *testing.T) {
	t.Parallel()
	for _, member := range []string{"s3_textgrid_url", "s3_pitch_url", "s3_bgvoice_url"} {
		for ref, why := range map[string]string{
			"pitch/1.json": "", "secret/1.wav": "that references may name", "/": "must be s3://bucket/key",
			"http://169.254.169.254/": "must", "javascript://x": "must",
		} {
			if _, err := decode(member, ref); (err == nil) != (why == "") || !strings.Contains(violations(err), why) {
				t.Errorf("%s %s: %v", member, ref, violations(err))
			}
		}
	}
	if _, err := decode("s3_pitch_url", "https://example.com/1.json"); !strings.Contains(violations(err), "of this storage") {
		t.Errorf("a service would read another host: %v", err)
	}
	if token, err := decode("s3_bgvoice_url", "https://example.com/1.wav"); err != nil || *token.BGVoiceURL != "https://example.com/1.wav" {
		t.Errorf("a browser may play a file of another host: %v", err)
	}
}
