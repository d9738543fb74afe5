package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
)

// tryUpload sends a recording once. Any answer but 202 is an error.
func tryUpload(ctx context.Context, gateway string, audio []byte) (job string, err error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "tone.wav")
	if err != nil {
		return "", err
	}
	_, _ = part.Write(audio)
	_ = form.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, gateway+"/tokens/1/upload-audio", &body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", form.FormDataContentType())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("status %s: %s", resp.Status, answer)
	}
	var accepted struct {
		JobID string `json:"job_id"`
	}
	if err := json.Unmarshal(answer, &accepted); err != nil {
		return "", err
	}
	return accepted.JobID, nil
}
