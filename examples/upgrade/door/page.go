package main

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"

	"github.com/golive-dev/golive/relay"
)

// closed says that the front end cannot serve visitors.
type closed struct{ retryAfter string }

func (c *closed) Error() string { return "the front end answers 503" }

// passOn passes requests on to the front end. Where none answers, the catalog tells why: it
// is under maintenance, and until when.
func passOn(bus *relay.Relay) http.Handler {
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: "127.0.0.1:" + cmp.Or(os.Getenv("SHOP_PORT"), "8481")})
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.StatusCode != http.StatusServiceUnavailable {
			return nil
		}
		return &closed{r.Header.Get("Retry-After")}
	}
	proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
		if is := (*closed)(nil); errors.As(err, &is) {
			maintenancePage(w, is.retryAfter)
			return
		}
		err = bus.Request(r.Context(), "catalog.list", nil, nil)
		var answered *relay.Error
		if errors.Is(err, relay.ErrMaintenance) && errors.As(err, &answered) {
			maintenancePage(w, strconv.Itoa(int(math.Ceil(answered.RetryAfter.Seconds()))))
			return
		}
		maintenancePage(w, "")
	}
	return proxy
}

// maintenancePage tells a visitor that the shop is closed, and, where that is known, in how
// many seconds it is worth coming back.
func maintenancePage(w http.ResponseWriter, retryAfter string) {
	text := "The shop is not there at the moment."
	if retryAfter != "" {
		w.Header().Set("Retry-After", retryAfter)
		text = "The shop is closed for maintenance. Please come back in " + retryAfter + " seconds."
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintf(w, "<!doctype html><title>Closed</title><h1>%s</h1>\n", text)
}
