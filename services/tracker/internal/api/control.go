package api

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"sori.internal/services/tracker/internal/command"
	"sori.internal/services/tracker/internal/job"
	"sori.internal/shared/fault"
	"sori.internal/shared/httpd"
	"sori.internal/shared/principal"
)

// Controller cancels and retries jobs (command.Control).
type Controller interface {
	Do(ctx context.Context, r command.Request) (job.Status, error)
}

// Eraser erases jobs. The parameter by is the name of the requester.
type Eraser interface {
	Erase(ctx context.Context, id, by string) error
}

// controlTimeout is the time limit for an action, which continues if its client disconnects.
const controlTimeout = 20 * time.Second

// controlBody is the response to an action.
type controlBody struct {
	JobID  string     `json:"job_id"`
	Status job.Status `json:"status"`
}

// control makes the handler of POST /jobs/{job_id}/{action}.
func (a *API) control(action command.Action) jobHandler {
	return func(w http.ResponseWriter, r *http.Request, id string) (err error) {
		request := command.Request{Job: id, Action: action, By: principal.From(r.Context()).By()}
		if action == command.Retry {
			if request.Force, err = forceOf(r); err != nil {
				return err
			}
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), controlTimeout)
		defer cancel()
		status, err := a.Controller.Do(ctx, request)
		if err != nil {
			return err
		}
		w.Header().Set("Location", resultPath+id)
		w.Header().Set("Cache-Control", "no-store")
		return httpd.JSON(w, http.StatusAccepted, controlBody{JobID: id, Status: status})
	}
}

// forceOf returns the value of the query parameter force; false if it is absent.
func forceOf(r *http.Request) (bool, error) {
	values := r.URL.Query()["force"]
	if len(values) == 0 {
		return false, nil
	}
	force, err := strconv.ParseBool(values[0])
	if err != nil || len(values) > 1 {
		return false, fault.ValidationFailed(fault.Violation{Pointer: "force", Detail: "must be true or false"})
	}
	return force, nil
}

// erasedBody is the response to DELETE /jobs/{job_id}.
type erasedBody struct {
	Detail string `json:"detail"`
}

func (a *API) erase(w http.ResponseWriter, r *http.Request, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), controlTimeout)
	defer cancel()
	if err := a.Eraser.Erase(ctx, id, principal.From(ctx).By()); err != nil {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return httpd.JSON(w, http.StatusOK, erasedBody{Detail: "Job deleted successfully"})
}
