package charset_test

import (
	"errors"
	"testing"

	"golang.org/x/text/encoding/korean"

	"sori.internal/shared/charset"
)

func TestCodePage949HasManyNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"EUC-KR", "ks_c_5601-1987", "windows-949", "cp949", "MS949", "uhc", "x-windows-949", " X-Windows-949 "} {
		if found, err := charset.Find(name); err != nil || found != korean.EUCKR {
			t.Errorf("%q: %v, %v", name, found, err)
		}
	}
	for _, name := range []string{"", "949", "cp9490", "klingon"} {
		if found, err := charset.Find(name); !errors.Is(err, charset.ErrUnknown) {
			t.Errorf("%q: %v, %v", name, found, err)
		}
	}
}
