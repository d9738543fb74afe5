package source_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sori.internal/shared/fault"
	"sori.internal/shared/source"
)

func allowed(t *testing.T, setting string) source.Allowed {
	t.Helper()
	var a source.Allowed
	if err := a.UnmarshalText([]byte(setting)); err != nil {
		t.Fatal(err)
	}
	return a
}

func TestOnlyURLsOfPublicHostsAreAllowed(t *testing.T) {
	t.Parallel()
	a := allowed(t, "media.internal, box.internal:9000, 10.1.0.0/16:*, [fd00::/8]:8080, s3://ingest/in/")
	for url, ok := range map[string]bool{
		"https://example.com/a.wav": true, "http://example.com": true, "https://example.com:8443/a?sig=x%2B": true,
		"HTTPS://EXAMPLE.COM/a": true, "http://93.184.216.34/a": true, "http://[2606:4700::1111]/a": true,
		"http://media.internal/a": true, "http://MEDIA.internal:8443/a": true, "http://box.internal:9000/a": true,
		"http://10.1.2.3:9000/a": true, "http://anything.example:9000/a": true, // Parse allows the listed port for every host; the address is checked later
		"http://[fd12::1]:8080/a": true, "s3://ingest/in/a b%?.wav": true,

		"": false, "a.wav": false, "//example.com/a": false, "ftp://example.com/a": false, "file:///etc/passwd": false,
		"gopher://example.com/": false, "http:example.com": false, "http:///a": false, "http://:80/a": false,
		"http://user@example.com/a": false, "http://user:password@example.com/a": false, "http://@example.com/": false,
		"http://example.com/a#b": false, "http://example.com/a\r\nX: y": false, "http://exam ple.com/": false,
		"http://127.0.0.1/a": false, "http://127.9.9.9/a": false, "http://0.0.0.0/": false, "http://10.0.0.1/": false,
		"http://10.2.2.3/": false, "http://172.16.0.1/": false, "http://192.168.1.1/": false, "http://100.64.0.1/": false,
		"http://169.254.169.254/latest/meta-data/": false, "http://198.18.0.1/": false, "http://224.0.0.1/": false,
		"http://255.255.255.255/": false, "http://[::1]/": false, "http://[::]/": false, "http://[fe80::1]/": false,
		"http://[fe80::1%25eth0]/": false, "http://[fd00:ec2::254]/": false, "http://[::ffff:127.0.0.1]/": false,
		"http://[::ffff:a9fe:a9fe]/": false, "http://[64:ff9b::7f00:1]/": false, "http://[64:ff9b:1::a00:1]/": false,
		"http://[2002:7f00:1::]/": false, "http://[2001::1]/": false, "http://[2001:db8::1]/": false, "http://[ff02::1]/": false,
		"http://93.184.216.34:22/": false, "http://93.184.216.34:0/": false, "http://93.184.216.34:99999/": false, "http://media.internal:99999/": false,
		"s3://ingest/": false, "s3://ingest": false, "s3:///in/a": false, "s3://ingest/out/a.wav": false, "s3://other/in/a.wav": false,
		"s3://ingest/in/../out/a": false, `s3://ingest/in/..\out\a`: false, "s3://ingest/in/./a": false, "s3://ingest//in/a": false,
		"s3://ingestion/in/a": false, "s3://ingest/in/a\x00": false,
		"https://example.com/" + strings.Repeat("a", source.MaxURL): false,
	} {
		_, err := a.Parse(url)
		var reason source.Reason
		if (err == nil) != ok || err != nil && !errors.As(err, &reason) {
			t.Errorf("%.80q: %v", url, err)
		}
		if err != nil && len(url) > 10 && strings.Contains(err.Error(), url) {
			t.Errorf("%.80q is in its reason", url)
		}
	}
}

func TestAnAddressIsAllowedAtThePortsOfItsEntry(t *testing.T) {
	t.Parallel()
	a := allowed(t, "10.1.0.0/16, 10.2.0.0/16:9000, 127.0.0.0/8:*, fd00::/8, 192.168.7.7:81, [::1]:82")
	for address, ok := range map[string]bool{
		"93.184.216.34:80": true, "93.184.216.34:443": true, "93.184.216.34:8443": true, "93.184.216.34:9000": false,
		"10.1.0.1:80": true, "10.1.0.1:9000": false, "10.2.0.1:9000": true, "10.2.0.1:80": false, "10.3.0.1:80": false,
		"127.0.0.1:12345": true, "[::ffff:127.0.0.1]:12345": true, "[fd00::1]:443": true, "[fd00::1]:9000": false, "[fe80::1]:443": false,
		"192.168.7.7:81": true, "192.168.7.7:80": false, "[::1]:82": true, "[::1]:80": false, "[::ffff:10.3.0.1]:80": false,
	} {
		err := a.CheckAddress(netip.MustParseAddrPort(address))
		if (err == nil) != ok || err != nil && !errors.Is(err, source.ErrRefused) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestASettingThatIsNoListIsRefused(t *testing.T) {
	t.Parallel()
	for _, setting := range []string{"http://host", "host:0", "host:99999", "host:x", "s3://", "s3://bucket/../x", "10.0.0.0/99", "*", "a b"} {
		var a source.Allowed
		if err := a.UnmarshalText([]byte(setting)); err == nil {
			t.Errorf("%q is accepted", setting)
		}
	}
	a := allowed(t, "s3://recordings/old, s3://other")
	if a.CheckBucket("recordings") == nil || a.CheckBucket("record") != nil || a.CheckBucket("other") == nil {
		t.Error("the bucket of recordings may not be listed, and every other one may")
	}
}

func TestHeadersThatDecideOverTheRequestAreRefused(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{
		"Authorization": true, "X-Api-Key": true, "cookie": true, "User-Agent": true, "Accept": true,
		"Host": false, "hOsT": false, "Content-Length": false, "Transfer-Encoding": false, "Connection": false, "Range": false,
		"If-Range": false, "if-none-match": false, "Accept-Encoding": false, "Proxy-Authorization": false, "TE": false, "Upgrade": false,
		"Expect": false, "Content-Type": false, "Sec-Fetch-Mode": false, "Keep-Alive": false, "Trailer": false, "Forwarded": false,
		"": false, "a b": false, "a:b": false, "a\r\nb": false, "한글": false,
	} {
		if err := source.CheckHeader(name, "value"); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	for value, ok := range map[string]bool{"Bearer x": true, "a\tb": true, "": true, "a\r\nHost: b": false, "a\nb": false, "a\x00": false, "\x7f": false} {
		err := source.CheckHeader("X", value)
		if (err == nil) != ok || err != nil && strings.Contains(err.Error(), value) {
			t.Errorf("%q: %v", value, err)
		}
	}
}

func TestASealedSourceIsOpenedForItsJobAloneAndTellsNothing(t *testing.T) {
	t.Parallel()
	src := source.Source{URL: "https://example.com/a.wav?signature=s3cret", Header: map[string]string{"Authorization": "Bearer s3cret"}, SHA256: "00"}
	s := sealer(t, "a secret of enough length 0123456")
	sealed, err := s.Seal("job-1", src)
	if err != nil || strings.Contains(sealed, "s3cret") || strings.Contains(sealed, "example") {
		t.Fatal(sealed, err)
	}
	if again, _ := s.Seal("job-1", src); again == sealed {
		t.Error("the same source is sealed to the same text")
	}
	got, err := sealer(t, "a secret of enough length 0123456").Open("job-1", sealed)
	if err != nil || got.URL != src.URL || got.Header["Authorization"] != "Bearer s3cret" || got.SHA256 != "00" {
		t.Errorf("%+v %v", got, err)
	}
	flipped := []byte(sealed)
	flipped[len(flipped)/2] ^= 1
	for name, open := range map[string]func() (source.Source, error){
		"another job": func() (source.Source, error) { return s.Open("job-2", sealed) },
		"another secret": func() (source.Source, error) {
			return sealer(t, "another secret of enough length 01").Open("job-1", sealed)
		},
		"changed": func() (source.Source, error) { return s.Open("job-1", string(flipped)) },
		"nothing": func() (source.Source, error) { return s.Open("job-1", "") },
	} {
		if got, err := open(); !fault.Is(err, fault.Invalid) || fault.As(err).Code != "source-unreadable" || got.URL != "" {
			t.Errorf("%s: %+v %v", name, got, err)
		}
	}
}

func TestAFingerprintIsThatOfItsSource(t *testing.T) {
	t.Parallel()
	s, other := sealer(t, "a secret of enough length 0123456"), sealer(t, "another secret of enough length 01")
	seen := map[string]string{}
	for name, src := range map[string]source.Source{
		"url": {URL: "https://example.com/a"}, "another url": {URL: "https://example.com/b"},
		"header": {URL: "https://example.com/a", Header: map[string]string{"A": "1", "B": "2"}}, "digest": {URL: "https://example.com/a", SHA256: "00"},
	} {
		sum, err := s.Fingerprint(src)
		again, _ := s.Fingerprint(src)
		foreign, _ := other.Fingerprint(src)
		if err != nil || len(sum) != 64 || again != sum || foreign == sum || seen[sum] != "" {
			t.Errorf("%s: %s %v %s", name, sum, err, seen[sum])
		}
		seen[sum] = name
	}
}

func TestTheHostAndTheNameOfASource(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][2]string{
		"https://example.com:8443/in/%EB%85%B9%EC%9D%8C%201.wav?sig=x": {"example.com", "녹음 1.wav"},
		"https://example.com":         {"example.com", ""},
		"https://example.com/":        {"example.com", ""},
		"https://example.com/in/":     {"example.com", "in"},
		"s3://ingest/in/a%20b?.wav":   {"ingest", "a%20b?.wav"},
		"https://example.com/a%2Fb":   {"example.com", "b"},
		"https://example.com/a/..%2F": {"example.com", ".."},
	} {
		src := source.Source{URL: url}
		if src.Host() != want[0] || src.FileName() != want[1] {
			t.Errorf("%s: %q %q", url, src.Host(), src.FileName())
		}
	}
}

func sealer(t *testing.T, secret string) *source.Sealer {
	t.Helper()
	s, err := source.NewSealer(secret)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
