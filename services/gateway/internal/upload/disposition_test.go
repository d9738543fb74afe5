package upload

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// sentName returns the field name and the file name of a Content-Disposition.
func sentName(value, charset string) (field, file string) {
	d := parseDisposition(value)
	return d.name(), CleanName(d.fileName(charset))
}

func TestTheNamesOfPartsAreParsedAsClientsSendThem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ client, value, want string }{
		{"curl since 7.81, requests, browsers: a quote is %22", `form-data; name="file"; filename="say %22hi%22.wav"`, `say "hi".wav`},
		{"curl before 7.81", `form-data; name="file"; filename="say \"hi\" \\o/.wav"`, `.wav`},
		{"browsers: a line's end is %0D%0A", `form-data; name="file"; filename="a%0D%0Ab.wav"`, `ab.wav`},
		{"browsers: other escapes are no escapes", `form-data; name="file"; filename="100%25 sure.wav"`, `100%25 sure.wav`},
		{"browsers, OkHttp, URLSession: UTF-8 as it is", `form-data; name="file"; filename="녹음 1.wav"`, `녹음 1.wav`},
		{"Safari: NFD", "form-data; name=\"file\"; filename=\"\u1102\u1169\u11a8\u110b\u1173\u11b7.m4a\"", `녹음.m4a`},
		{".NET: no quotes", `form-data; name=file; filename=a.wav; filename*=utf-8''a.wav`, `a.wav`},
		{".NET: encoded words and filename*", `form-data; name=file; filename="=?utf-8?B?64W57J2MLndhdg==?="; filename*=utf-8''%EB%85%B9%EC%9D%8C.wav`, `녹음.wav`},
		{".NET: encoded words alone", `form-data; name=file; filename="=?utf-8?B?64W57J2MLndhdg==?="`, `녹음.wav`},
		{"mail libraries: encoded words in EUC-KR", `form-data; name=file; filename="=?euc-kr?B?s+zAvS53YXY=?="`, `녹음.wav`},
		{"urllib3 1.24: filename* alone", `form-data; name="file"; filename*=utf-8''%EB%85%B9%EC%9D%8C.wav`, `녹음.wav`},
		{"filename* wins wherever it stands", `form-data; filename*=UTF-8'ko'%EB%85%B9.wav; name="file"; filename="x.wav"`, `녹.wav`},
		{"encoded words of Java in code page 949", `form-data; name=file; filename="=?MS949?B?s+zAvS53YXY=?="`, `녹음.wav`},
		{"filename* in code page 949, by its name in Java", `form-data; name="file"; filename*=x-windows-949''%8C%63%B9%E6.wav; filename=x`, `똠방.wav`},
		{"filename* in another charset", `form-data; name="file"; filename*=EUC-KR''%B3%EC%C0%BD.wav; filename=x`, `녹음.wav`},
		{"filename* in Latin-1", `form-data; name="file"; filename*=iso-8859-1'en'%A3%20rates.wav`, `£ rates.wav`},
		{"filename* in quotes", `form-data; name="file"; filename*="UTF-8''%EB%85%B9.wav"`, `녹.wav`},
		{"a filename* of no known charset gives way", `form-data; name="file"; filename*=klingon''%EB; filename="x.wav"`, `x.wav`},
		{"a filename* that is none gives way", `form-data; name="file"; filename*=%EB; filename="x.wav"`, `x.wav`},
		{"React Native: encodeURIComponent", `form-data; name="file"; filename="%EB%85%B9%EC%9D%8C%20(1).wav"`, `녹음 (1).wav`},
		{"RFC 2231: continued", `form-data; name="file"; filename*0*=utf-8''%EB%85%B9; filename*1="a b"; filename*2*=%EC%9D%8C.wav`, `녹a b음.wav`},
		{"RFC 2231: continued in ASCII", `form-data; name="file"; filename*0="a "; filename*1="b.wav"`, `a b.wav`},
		{"Apache HttpClient, strict: question marks", `form-data; name="file"; filename="??.wav"`, `??.wav`},
		{"Internet Explorer: a path", `form-data; name="file"; filename="C:\Users\하나\a.wav"`, `a.wav`},
		{"Dart, Postman: another order", `form-data; filename="a.wav"; name="file"`, `a.wav`},
		{"no spaces", `form-data;name="file";filename="a.wav"`, `a.wav`},
		{"spaces everywhere", " form-data ;\tname = \"file\" ; filename = \"a.wav\" ; ", `a.wav`},
		{"upper case", `FORM-DATA; NAME="file"; FileName="a.wav"`, `a.wav`},
		{"no type", `name="file"; filename="a.wav"`, `a.wav`},
		{"another type", `attachment; name="file"; filename="a.wav"`, `a.wav`},
		{"further parameters", `form-data; name="file"; size=12; foo="a;b"; filename="a.wav"; modification-date="Wed, 12 Feb 1997 16:29:51 -0500"`, `a.wav`},
		{"no file name", `form-data; name="file"`, ``},
		{"an empty file name", `form-data; name="file"; filename=""`, ``},
		{"name*", `form-data; name*=UTF-8''file; filename="a.wav"`, `a.wav`},
		{"a comma and an equals sign", `form-data; name="file"; filename=a=b, c.wav`, `a=b, c.wav`},
	} {
		if field, file := sentName(c.value, ""); field != "file" || file != c.want {
			t.Errorf("%s: %q is %q of %q, not %q", c.client, c.value, file, field, c.want)
		}
	}
}

func TestTheFieldIsFoundWhateverTheFileNameLooksLike(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, want string }{
		{`say "hi".wav`, `say "hi".wav`},
		{`"`, `"`},
		{`""`, `""`},
		{`a"b`, `a"b`},
		{`a";b.wav`, `a";b.wav`},
		{`a"; b="c.wav`, `a`}, // ambiguous
		{`a"; name="other".wav`, `a`},
		{`; name="other".wav`, `; name="other".wav`},
		{`a; filename=b; name=other.wav`, `a; filename=b; name=other.wav`},
		{`C:\music\`, ``},
		{`a\`, ``},
		{`a\".wav`, `a".wav`},
		{"\x83\x5c.wav", "ソ.wav"},             // Shift_JIS, with a backslash as its second byte
		{"\x83\x5c", "ソ"},                     // and before the closing quote
		{"\xb3\xec\xc0\xbd.wav", "녹음.wav"},    // EUC-KR
		{"\x8c\x63\xb9\xe6.wav", "똠방.wav"},    // CP949: a syllable that EUC-KR lacks
		{"caf\xe9.wav", "café.wav"},           // Latin-1
		{"\xed\x95\x9c\xea\xb8.wav", "한.wav"}, // UTF-8 that was cut
		{strings.Repeat("name=;\"", 3000), ""},
		{strings.Repeat("=", 9000), strings.Repeat("=", maxName)},
		{strings.Repeat("가", 9000) + ".wav", strings.Repeat("가", maxName-4) + ".wav"},
		{"../../etc/passwd", "passwd"},
		{"\u202egpj.wav", "gpj.wav"},
	} {
		for _, form := range []string{`form-data; name="file"; filename="%"`, `form-data; filename="%"; name="file"`, `form-data; name=file; filename="%"; size=1`} {
			field, file := sentName(strings.Replace(form, "%", c.name, 1), "")
			if field != "file" || c.want != "" && file != c.want || utf8.RuneCountInString(file) > maxName {
				t.Errorf("%.60q in %s: %.60q of %.60q, not %.60q", c.name, form, file, field, c.want)
			}
		}
	}
}

func TestTheFirstOfRepeatedParametersIsUsed(t *testing.T) {
	t.Parallel()
	for value, want := range map[string][2]string{
		`form-data; name="file"; name="other"; filename="a"; filename="b"`: {"file", "a"},
		`form-data; name="other"; name="file"`:                             {"other", ""},
		`form-data; filename="a"; name="x"; name="file"`:                   {"file", "a"},
		`form-data; name="file"; filename="a"; name="x"`:                   {"file", "a"},
	} {
		if field, file := sentName(value, ""); field != want[0] || file != want[1] {
			t.Errorf("%s: %q of %q", value, file, field)
		}
	}
}

func TestTheCharsetOfAFormIsUsedIfANameIsNotUTF8(t *testing.T) {
	t.Parallel()
	const euc = "form-data; name=\"file\"; filename=\"\xb3\xec.wav\""
	for charset, want := range map[string]string{"euc-kr": "녹.wav", "EUC-KR": "녹.wav", "gbk": "踌.wav", "utf-8": "녹.wav", "klingon": "녹.wav", "": "녹.wav"} {
		if _, file := sentName(euc, charset); file != want {
			t.Errorf("%s: %q", charset, file)
		}
	}
	if _, file := sentName(`form-data; name="file"; filename="녹.wav"`, "euc-kr"); file != "녹.wav" {
		t.Errorf("UTF-8 in a form that says EUC-KR: %q", file)
	}
}

func TestNamesInLegacyCharsetsAreDecoded(t *testing.T) {
	t.Parallel()
	for sent, want := range map[string]string{
		"\xb0\xa1\xb3\xaa\xb4\xd9.wav":                         "가나다.wav",
		"\xc7\xd1\xb1\xdb \xb3\xec\xc0\xbd 1.wav":              "한글 녹음 1.wav",
		"\xbe\xc8\xb3\xe7\xc7\xcf\xbc\xbc\xbf\xe4_final.mp3":   "안녕하세요_final.mp3",
		"\x98\x5e\x89\xb9\x83\x74\x83\x40\x83\x43\x83\x8b.wav": "録音ファイル.wav",
		"\x82\xb1\x82\xf1\x82\xc9\x82\xbf\x82\xcd.wav":         "こんにちは.wav",
		"\x83\x65\x83\x58\x83\x67.wav":                         "テスト.wav",
		"\x9cuvre.wav":                                         "œuvre.wav",
		"\xe9t\xe9.wav":                                        "été.wav",
		"\xc4rger f\xfcr Gr\xfc\xdfe.wav":                      "Ärger für Grüße.wav",
		"se\xf1or ni\xf1o.wav":                                 "señor niño.wav",
		"Bj\xf6rk \x96 J\xf3ga.mp3":                            "Björk – Jóga.mp3",
	} {
		if got := decodeText(sent, ""); got != want {
			t.Errorf("%q is %q, not %q", sent, got, want)
		}
	}
}

func FuzzDisposition(f *testing.F) {
	for _, seed := range []string{
		`form-data; name="file"; filename="say "hi".wav"`, `form-data; filename*=utf-8''%EB%85%B9; name=file`, "form-data; name=file; filename=\"\x83\x5c\"",
		`form-data; name="file"; filename*0*=euc-kr''%B0; filename*1=x`, `form-data; name=file; filename="=?utf-8?q?=22?="`, `;;;=;"`, `form-data; name*=x'`,
	} {
		f.Add(seed, "euc-kr")
	}
	f.Fuzz(func(t *testing.T, value, charset string) {
		d := parseDisposition(value)
		name := CleanName(d.fileName(charset))
		if !utf8.ValidString(name) || utf8.RuneCountInString(name) > maxName || strings.ContainsAny(name, "/\\\r\n\x00") {
			t.Errorf("%q gave the file name %q", value, name)
		}
	})
}

func FuzzTheFieldIsFound(f *testing.F) {
	f.Add(`say "hi".wav`)
	f.Add(`a"; b=c\`)
	f.Add("\x83\x5c")
	f.Fuzz(func(t *testing.T, file string) {
		if strings.ContainsAny(file, "\r\n") { // a line break would end the header
			return
		}
		if got := parseDisposition(`form-data; name="file"; filename="` + file + `"`).name(); got != "file" {
			t.Errorf("%q: the field is %q", file, got)
		}
	})
}
