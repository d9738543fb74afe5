package uploadrequest_test

import (
	"fmt"
	"net/http"

	"sori.internal/shared/uploadrequest"
)

// The gateway describes an upload, and the uploader reads the description.
func Example() {
	value, err := uploadrequest.Description{TokenID: 7, FileName: "녹음.wav"}.Encode()
	if err != nil {
		fmt.Println(err)
		return
	}
	request := http.Header{}
	request.Set(uploadrequest.Header, value)
	d, err := uploadrequest.FromHeader(request)
	fmt.Println(d.TokenID, d.FileName, err)
	_, err = uploadrequest.FromHeader(http.Header{})
	fmt.Println("without the header:", err != nil)
	// Output:
	// 7 녹음.wav <nil>
	// without the header: true
}
