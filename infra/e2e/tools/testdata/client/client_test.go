// Package client_test uses a client that was generated from the OpenAPI document: it uploads a
// recording for a token and waits for the result.
package client_test

import (
	"bytes"
	"flag"
	"fmt"
	"mime/multipart"
	"os"
	"regexp"
	"testing"

	"client/sori"
)

var (
	gateway = flag.String("gateway", "", "the base URL of the gateway")
	token   = flag.Int64("token", 0, "the id of the token")
)

func TestAGeneratedClientDoesTheMainJob(t *testing.T) {
	t.Parallel()
	client, err := sori.NewClientWithResponses(*gateway)
	if err != nil {
		t.Fatal(err)
	}
	recording, err := os.ReadFile("recording.wav")
	if err != nil {
		t.Fatal(err)
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body) // writing to a buffer cannot fail
	part, _ := form.CreateFormFile("file", "recording.wav")
	_, _ = part.Write(recording)
	_ = form.Close()
	uploaded, err := client.UploadAudioWithBodyWithResponse(t.Context(), *token, &sori.UploadAudioParams{}, form.FormDataContentType(), &body)
	if err != nil {
		t.Fatal(err)
	}
	if uploaded.JSON202 == nil {
		t.Fatalf("upload: %s: %s", uploaded.Status(), uploaded.Body)
	}
	for wait := 30; ; {
		got, err := client.GetResultWithResponse(t.Context(), uploaded.JSON202.JobId, &sori.GetResultParams{Wait: &wait})
		if err != nil {
			t.Fatal(err)
		}
		if got.JSON200 == nil {
			t.Fatalf("result: %s: %s", got.Status(), got.Body)
		}
		if got.JSON200.Status != sori.JobStatusProcessing {
			told := fmt.Sprintln(got.JSON200.JobId, got.JSON200.Status, got.JSON200.Result)
			if !regexp.MustCompile(`^[0-9a-f-]{36} completed map\[.*duration:1 `).MatchString(told) {
				t.Errorf("the result is %s", told)
			}
			return
		}
	}
}
