package charset_test

import (
	"fmt"

	"sori.internal/shared/charset"
)

func ExampleFind() {
	korean, _ := charset.Find("MS949")
	text, _ := korean.NewDecoder().String("\x8c\x63\xb9\xe6")
	fmt.Println(text)
	_, err := charset.Find("klingon")
	fmt.Println(err)
	// Output:
	// 똠방
	// unknown charset
}
