package main

import (
	"errors"
	"time"
)

// period is the value of a flag that is a duration. It must be positive: a flag that is not given is 0,
// which means no limit for most flags, so that an explicit 0 would select more than intended.
type period time.Duration

// UnmarshalText implements encoding.TextUnmarshaler, by which kong parses the flag.
func (p *period) UnmarshalText(text []byte) error {
	d, err := time.ParseDuration(string(text))
	if err != nil {
		return err //nolint:wrapcheck // the error names the text, and kong adds the flag
	}
	if d <= 0 {
		return errors.New("must be more than 0")
	}
	*p = period(d)
	return nil
}

func (p period) duration() time.Duration { return time.Duration(p) }
