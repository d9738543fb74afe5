package stack

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	secretsName = "secrets.json"
	portsName   = "ports.json"
)

// secrets are the credentials of the servers of one state folder. They are generated once and saved in that folder, because
// the servers accept no other credentials for their existing data.
type secrets struct {
	S3AccessKey   string `json:"s3_access_key"`
	S3SecretKey   string `json:"s3_secret_key"`
	PostgresAdmin string `json:"postgres_admin"`
	PostgresOwner string `json:"postgres_owner"`
	NATSAdmin     string `json:"nats_admin"`
}

func loadSecrets(dir string) (secrets, error) {
	path := filepath.Join(dir, secretsName)
	var keys secrets
	text, err := os.ReadFile(path)
	if err == nil {
		if err = json.Unmarshal(text, &keys); err != nil {
			return secrets{}, fmt.Errorf("read %s: %w", path, err)
		}
		if keys.NATSAdmin != "" {
			return keys, nil
		}
		keys.NATSAdmin = rand.Text() // the folder was created before NATS had users
		return keys, save(path, keys)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return secrets{}, fmt.Errorf("read secrets: %w", err)
	}
	keys = secrets{
		S3AccessKey: rand.Text()[:20], S3SecretKey: rand.Text() + rand.Text(),
		PostgresAdmin: rand.Text(), PostgresOwner: rand.Text(), NATSAdmin: rand.Text(),
	}
	return keys, save(path, keys)
}

// loadPorts reads the ports of the last run. They are only a preference: if the file cannot be read, it returns no ports and
// no error.
func loadPorts(dir string) Ports {
	var ports Ports
	text, err := os.ReadFile(filepath.Join(dir, portsName))
	if err != nil || json.Unmarshal(text, &ports) != nil {
		return Ports{}
	}
	return ports
}

// ForgetPorts makes the next start of the stack in a state folder choose new ports.
func ForgetPorts(dir string) error {
	if err := os.Remove(filepath.Join(dir, portsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget ports: %w", err)
	}
	return nil
}

func savePorts(dir string, ports Ports) error { return save(filepath.Join(dir, portsName), ports) }

// save writes v as JSON to a new file and renames it to path, so that a crash leaves either the old file or the new file.
func save(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("save %s: %w", path, err)
	}
	fresh := path + ".new"
	if err = os.WriteFile(fresh, append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	if err = os.Rename(fresh, path); err != nil {
		return fmt.Errorf("save: %w", err)
	}
	return nil
}
