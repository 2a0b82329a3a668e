package command

import (
	"errors"
	"fmt"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

func refuse(code, hint, format string, args ...any) error {
	return &protocol.ServiceError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func describe(err error) *protocol.ServiceError {
	var given *protocol.ServiceError
	var phase *rollout.PhaseError
	switch {
	case errors.As(err, &given):
		return given
	case errors.Is(err, rollout.ErrNotFound):
		return &protocol.ServiceError{Code: api.CodeNotFound, Message: err.Error(), Hint: "golive history lists the rollouts"}
	case errors.Is(err, rollout.ErrTooLarge):
		return &protocol.ServiceError{Code: api.CodeTooLarge, Message: err.Error(), Hint: "make the release smaller, or raise max_payload of the bus"}
	case errors.Is(err, rollout.ErrUnknown):
		return &protocol.ServiceError{Code: api.CodeUnavailable, Message: err.Error(), Hint: "another version of golive has written that: bring all orchestrators here up to the newest one, and try again; what is older than all of them can only be read by the version that wrote it"}
	case errors.Is(err, rollout.ErrNotAllowed):
		return &protocol.ServiceError{Code: api.CodeNotAllowed, Message: strings.TrimPrefix(err.Error(), rollout.ErrNotAllowed.Error()+": "), Hint: "golive show ROLLOUT tells who may"}
	case errors.As(err, &phase):
		return &protocol.ServiceError{Code: api.CodePhase, Message: err.Error(), Hint: phaseHint(phase)}
	case errors.Is(err, rollout.ErrStale), errors.Is(err, rollout.ErrConflict):
		return &protocol.ServiceError{Code: api.CodeConflict, Message: err.Error(), Hint: "golive show ROLLOUT tells how it stands"}
	}
	if errors.Is(err, bus.ErrFull) {
		return &protocol.ServiceError{Code: api.CodeUnavailable, Message: err.Error(), Hint: "then try again: what has been stored is safe, and what is under way goes on by itself"}
	}
	return &protocol.ServiceError{Code: api.CodeUnavailable, Message: err.Error(), Hint: "the bus has not answered as it should: look at its servers, and try again"}
}

// refusedBy names the rollout in what helps where one does not take what a person wants.
func refusedBy(id string, err error) error {
	e := describe(err)
	if e.Code == api.CodeNotAllowed || e.Code == api.CodeConflict {
		e.Hint = strings.ReplaceAll(e.Hint, "ROLLOUT", id)
	}
	return e
}

// phaseHint is what may be deployed instead.
func phaseHint(e *rollout.PhaseError) string {
	if e.Before != "" {
		return "golive deploy --phase " + string(e.Before)
	}
	return "golive deploy --phase " + string(e.Phases[0]) + ", or without --phase for all"
}
