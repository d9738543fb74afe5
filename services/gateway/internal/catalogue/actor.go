package catalogue

import (
	"fmt"

	"sori.internal/shared/fault"
)

// Actor is somebody who speaks. No two have one name, by which tokens name them.
type Actor struct {
	ID      int64
	Version int64
	Name    string
}

// DecodeActor reads an actor out of a JSON object.
func DecodeActor(body []byte) (Actor, error) {
	f, err := read(body)
	if err != nil {
		return Actor{}, err
	}
	return Actor{Name: f.required("name", f.name)}, f.err()
}

// ActorExists is the failure of an actor whose name another one has.
func ActorExists(name string, cause error) error {
	return fault.Wrap(fault.Conflict, "actor-exists", fmt.Sprintf("There is an actor named %q already.", name), cause)
}
