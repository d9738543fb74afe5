package locale_test

import (
	"fmt"

	"sori.internal/shared/locale"
)

func Example() {
	for _, header := range []string{"en-GB, ko;q=0.5", "fr", ""} {
		language := locale.Choose(header, locale.Korean)
		fmt.Println(language, locale.Text(language, locale.Completed))
	}
	fmt.Println(locale.FailureText(locale.English, "analysis-timeout", ""))
	// Output:
	// en Analysis complete
	// ko 분석 완료
	// ko 분석 완료
	// The analysis did not finish in time.
}
