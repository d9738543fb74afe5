package catalogue

import (
	"fmt"

	"sori.internal/shared/fault"
)

// Actor is a speaker. Names are unique; tokens refer to actors by name.
type Actor struct {
	ID      int64
	Version int64
	Name    string
}

// DecodeActor reads an actor from a JSON object.
func DecodeActor(body []byte) (Actor, error) {
	f, err := parseObject(body)
	if err != nil {
		return Actor{}, err
	}
	return Actor{Name: f.required("name", f.name)}, f.err()
}

// ActorExists returns the failure of a change that would give two actors the same name.
func ActorExists(name string, cause error) error {
	return fault.Wrap(fault.Conflict, "actor-exists", fmt.Sprintf("There is an actor named %q already.", name), cause)
}
