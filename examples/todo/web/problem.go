package main

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/golive-dev/golive/relay"
)

// problem is what a visitor gets in place of an answer.
type problem struct {
	status int // of HTTP
	text   string
}

// explain says in a visitor's words why the message was not answered.
func explain(message string, err error) *problem {
	service, _, _ := strings.Cut(message, ".")
	trouble := func(status int, what string) *problem {
		return &problem{status, "The service " + service + " " + what + ". Please try again in a moment."}
	}
	var answered *relay.Error
	switch {
	case errors.Is(err, relay.ErrNobodyListens):
		return trouble(http.StatusServiceUnavailable, "is not there at the moment")
	case errors.Is(err, context.DeadlineExceeded):
		return trouble(http.StatusGatewayTimeout, "takes too long to answer")
	case !errors.As(err, &answered):
		return trouble(http.StatusBadGateway, "cannot be asked")
	case answered.Code == relay.CodeUnavailable:
		return trouble(http.StatusServiceUnavailable, "is being worked on")
	}
	if code, err := strconv.Atoi(answered.Code); err == nil && code >= 400 && code < 500 {
		return &problem{code, answered.Message} // what the visitor wrote was not right
	}
	return trouble(http.StatusBadGateway, "could not do it")
}

// unreadable says why a request could not be read.
func unreadable(err error) *problem {
	if errors.As(err, new(*http.MaxBytesError)) {
		return &problem{http.StatusRequestEntityTooLarge, "that is too much text for a todo"}
	}
	return &problem{http.StatusBadRequest, "the request cannot be read: " + err.Error()}
}
