package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sori.internal/shared/event"
	"sori.internal/shared/fault"
)

// Error codes of JetStream (server/errors.json of nats-server) that the client library does not
// define.
const (
	codeAccountResourcesExceeded  jetstream.ErrorCode = 10002
	codeNoPeers                   jetstream.ErrorCode = 10005 // too few servers of the cluster are available
	codeInsufficientResources     jetstream.ErrorCode = 10023
	codeMemoryExceeded            jetstream.ErrorCode = 10028
	codeStorageExceeded           jetstream.ErrorCode = 10047
	codeWrongLastSequence         jetstream.ErrorCode = 10071
	codeStoreFailed               jetstream.ErrorCode = 10077 // for example "maximum bytes exceeded"
	codeDuplicateInProcess        jetstream.ErrorCode = 10158 // a message with the same id is not yet committed by the cluster
	codeWrongLastSequenceConstant jetstream.ErrorCode = 10164
	codeTooManyRequests           jetstream.ErrorCode = 10167
)

// translate returns an error of the client library with its kind, and with what was tried. Only
// translate and translateAPI know the error codes of JetStream.
func translate(tried string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("%s: %w", tried, err)
	if api, ok := errors.AsType[*jetstream.APIError](err); ok {
		return translateAPI(api, wrapped)
	}
	for _, unavailable := range []error{
		nats.ErrTimeout, nats.ErrNoResponders, nats.ErrConnectionClosed, nats.ErrDisconnected,
		nats.ErrReconnectBufExceeded, nats.ErrNoServers, jetstream.ErrNoStreamResponse, context.DeadlineExceeded,
		nats.ErrHeadersNotSupported, // the client library returns this error before its first connection
		nats.ErrConnectionReconnecting, jetstream.ErrNoHeartbeat, jetstream.ErrAsyncPublishTimeout, nats.ErrStaleConnection,
		jetstream.ErrTooManyStalledMsgs, io.EOF,
	} {
		if errors.Is(err, unavailable) {
			return fault.Unreachable("message bus", wrapped)
		}
	}
	if _, broken := errors.AsType[net.Error](err); broken { // the connection broke during a write
		return fault.Unreachable("message bus", wrapped)
	}
	return wrapped
}

func translateAPI(api *jetstream.APIError, wrapped error) error {
	switch api.ErrorCode {
	case codeWrongLastSequence, codeWrongLastSequenceConstant:
		return conflict(wrapped)
	case codeAccountResourcesExceeded, codeInsufficientResources, codeMemoryExceeded,
		codeStorageExceeded, codeStoreFailed, codeTooManyRequests:
		return fault.AtCapacity("bus", wrapped)
	}
	if api.Code >= 500 || api.ErrorCode == codeDuplicateInProcess || api.ErrorCode == codeNoPeers {
		return fault.Unreachable("message bus", wrapped)
	}
	return wrapped
}

// conflict returns the error of a write that expected another last sequence.
func conflict(cause error) error {
	return &fault.Error{Kind: fault.Conflict, Code: "overtaken", Err: fmt.Errorf("%w: %w", event.ErrLogConflict, cause)}
}
