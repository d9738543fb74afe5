package event

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// ErrUnknownProgress means that the subject is that of a progress event, but that this release does
// not know the name of the event: a newer release has published it. A reader may ignore it, since a
// progress event changes no status.
var ErrUnknownProgress = errors.New("unknown progress event")

// Decode decodes an event that was published on a subject (without the namespace). It ignores
// unknown fields. It fails unless the event in the body has the name and the job or token in the
// subject.
func Decode(subject string, body []byte) (Event, error) {
	entity, name, err := parse(subject)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(subject, progressRoot) && !name.Progress() { // parse allows no other known name there
		return nil, fmt.Errorf("decode %s: %w", subject, ErrUnknownProgress)
	}
	e, err := decode(name, body)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", subject, err)
	}
	if EntityID(e) != entity {
		return nil, fmt.Errorf("decode %s: the body is of %q", subject, EntityID(e))
	}
	return e, nil
}

// known reports whether there is an event of this name.
func (n Name) known() bool {
	_, err := decode(n, []byte("{}"))
	return err == nil
}

func decode(name Name, body []byte) (Event, error) {
	switch name {
	case NameReceived:
		return as[Received](body)
	case NameStored:
		return as[Stored](body)
	case NameAttempted:
		return as[Attempted](body)
	case NameDispatched:
		return as[Dispatched](body)
	case NameLapsed:
		return as[Lapsed](body)
	case NameCompleted:
		return as[Completed](body)
	case NameFailed:
		return as[Failed](body)
	case NameCanceled:
		return as[Canceled](body)
	case NameRetried:
		return as[Retried](body)
	case NameExpired:
		return as[Expired](body)
	case NameErased:
		return as[Erased](body)
	case NameFetching:
		return as[Fetching](body)
	case NameUploading:
		return as[Uploading](body)
	case NameProgressed:
		return as[Progressed](body)
	case NameWaiting:
		return as[Waiting](body)
	case NameRefused:
		return as[Refused](body)
	case NameDiscarded:
		return as[Discarded](body)
	case NameGranted:
		return as[Granted](body)
	case NameDeleted:
		return as[TokenDeleted](body)
	default:
		return nil, fmt.Errorf("unknown event %q", name)
	}
}

func as[E Event](body []byte) (Event, error) {
	var e E
	err := json.Unmarshal(body, &e)
	return e, err
}
