// Command client uses a client that was generated from the OpenAPI document: it uploads a
// recording for a token and waits for the result.
package main

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"os"
	"strconv"

	"client/sori"
)

func main() {
	if err := run(context.Background(), os.Args[1], os.Args[2], os.Args[3]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, gateway, token, file string) error {
	client, err := sori.NewClientWithResponses(gateway)
	if err != nil {
		return err
	}
	id, err := strconv.ParseInt(token, 10, 64)
	if err != nil {
		return err
	}
	recording, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "recording.wav")
	if err != nil {
		return err
	}
	_, _ = part.Write(recording)
	_ = form.Close()
	uploaded, err := client.UploadAudioWithBodyWithResponse(ctx, id, &sori.UploadAudioParams{}, form.FormDataContentType(), &body)
	if err != nil {
		return err
	}
	if uploaded.JSON202 == nil {
		return fmt.Errorf("upload: %s: %s", uploaded.Status(), uploaded.Body)
	}
	for wait := 30; ; {
		got, err := client.GetResultWithResponse(ctx, uploaded.JSON202.JobId, &sori.GetResultParams{Wait: &wait})
		if err != nil {
			return err
		}
		if got.JSON200 == nil {
			return fmt.Errorf("result: %s: %s", got.Status(), got.Body)
		}
		if got.JSON200.Status != sori.JobStatusProcessing {
			fmt.Println(got.JSON200.JobId, got.JSON200.Status, got.JSON200.Result)
			return nil
		}
	}
}
