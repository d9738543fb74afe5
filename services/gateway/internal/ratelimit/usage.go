package ratelimit

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
)

const (
	maxReplicas = 64      // largest number of other replicas whose messages are counted
	maxReported = 4096    // largest number of clients of one limit in a message
	maxCount    = 1 << 20 // largest count of one client in a message
	maxReplica  = 64      // largest size of the id of a replica, in bytes

	// clientBytes is the assumed size of one client in a message: a key of 22 characters, quotes,
	// colon, comma and the count. It leaves some room for the rest of the message.
	clientBytes = 36
)

// usage is a message of a replica: requests and operations, by the name of the limit and by client.
type usage struct {
	Replica string                 `json:"replica"`
	Taken   map[string]map[key]int `json:"taken,omitempty"` // requests since the last message
	Held    map[string]map[key]int `json:"held,omitempty"`  // number of concurrent operations of each client
	All     bool                   `json:"all,omitempty"`   // Held has every client that has concurrent operations, not only changes
	Stopped bool                   `json:"stopped,omitempty"`
}

// usage returns the counts that the other replicas do not know: the changes, or, if all is set, all
// concurrent operations of clients. The message is not larger than maxPayload. The clients with the
// smallest counts are left out.
func (s *Set) usage(all bool, maxPayload int64) usage {
	u := usage{Taken: map[string]map[key]int{}, Held: map[string]map[key]int{}, All: all}
	most := min(maxReported, int(maxPayload)/clientBytes/max(1, len(s.rates)+len(s.concurrencies)))
	for name, r := range s.rates {
		if taken := largest(r.unpublished(), most); len(taken) > 0 {
			u.Taken[name] = taken
		}
	}
	for name, c := range s.concurrencies {
		if held := largest(c.unpublished(all), most); len(held) > 0 {
			u.Held[name] = held
		}
	}
	return u
}

// largest returns the n clients with the largest counts.
func largest(counts map[key]int, n int) map[key]int {
	if len(counts) <= n {
		return counts
	}
	clients := slices.SortedFunc(maps.Keys(counts), func(a, b key) int { return cmp.Compare(counts[a], counts[b]) })
	for _, client := range clients[:len(clients)-n] {
		delete(counts, client)
	}
	return counts
}

var errReplica = errors.New("no valid id of a replica")

// parse reads a message. Counts that no client can have are left out.
func parse(body []byte) (usage, error) {
	var u usage
	if err := json.Unmarshal(body, &u); err != nil {
		return usage{}, err
	}
	if u.Replica == "" || len(u.Replica) > maxReplica {
		return usage{}, errReplica
	}
	// The count in Held is 0 for a client whose operations have ended.
	return u, errors.Join(check(u.Taken, 1), check(u.Held, 0))
}

// check removes the counts that are less than lowest, and those that are too large. It fails if a
// limit has too many clients.
func check(limits map[string]map[key]int, lowest int) error {
	for name, counts := range limits {
		if len(counts) > maxReported {
			return fmt.Errorf("%d clients of the limit %q", len(counts), name)
		}
		maps.DeleteFunc(counts, func(_ key, n int) bool { return n < lowest || n > maxCount })
	}
	return nil
}
