package command

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// File is the name of the file in a state folder in which other programs find the Endpoints. It exists while Sori runs.
const File = "endpoints.json"

// Endpoints are the contents of the file named File: the URLs, and the credentials for NATS, S3 and the tracker.
type Endpoints struct {
	Gateway     string `json:"gateway"`
	Uploader    string `json:"uploader"`
	Dispatcher  string `json:"dispatcher"`
	Tracker     string `json:"tracker"`
	NATS        string `json:"nats"`       // URL with the credentials of the user sorictl
	NATSAdmin   string `json:"nats_admin"` // URL with the credentials of a user with all permissions
	S3          string `json:"s3"`
	S3Region    string `json:"s3_region"`
	S3Bucket    string `json:"s3_bucket"`
	S3AccessKey string `json:"s3_access_key"`
	S3SecretKey string `json:"s3_secret_key"`
	Postgres    string `json:"postgres"`
	Analyzer    string `json:"analyzer"`
	Principal   string `json:"principal_secret"` // key of the signed principal header for the tracker
}

// Write writes the file into a state folder, atomically, and returns a function that
// removes it. Only its owner may read the file, because it contains passwords.
func (e Endpoints) Write(dir string) (remove func(), err error) {
	body, err := json.MarshalIndent(e, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", File, err)
	}
	file := filepath.Join(dir, File)
	if err := os.WriteFile(file+".new", append(body, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("write %s: %w", File, err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return nil, fmt.Errorf("write %s: %w", File, err)
	}
	return func() { _ = os.Remove(file) }, nil
}

// Read reads the file of a state folder.
func Read(dir string) (Endpoints, error) {
	e, err := ReadFile(filepath.Join(dir, File))
	if errors.Is(err, os.ErrNotExist) {
		return Endpoints{}, fmt.Errorf("nothing runs in %s: start it with `go run ./infra/local`, or name a deployment in NATS_URL", dir)
	}
	return e, err
}

// ReadFile reads a file that Write has written.
func ReadFile(file string) (e Endpoints, err error) {
	body, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(body, &e)
	}
	if err != nil {
		return Endpoints{}, fmt.Errorf("read %s: %w", File, err)
	}
	return e, nil
}
