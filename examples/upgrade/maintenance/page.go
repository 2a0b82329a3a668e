// Package maintenance tells visitors that the shop is closed, and until when.
package maintenance

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/golive-dev/golive/relay"
)

// Page answers a visitor for whom the catalog could not be asked: with 503 and, when it is
// under maintenance, with the time after which it is worth trying again.
func Page(w http.ResponseWriter, err error) {
	text := "The shop is not there at the moment."
	var answered *relay.Error
	if errors.Is(err, relay.ErrMaintenance) && errors.As(err, &answered) {
		text = "The shop is closed for maintenance."
		if wait := int(math.Ceil(answered.RetryAfter.Seconds())); wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(wait))
			text += fmt.Sprintf(" Please come back in %d seconds.", wait)
		}
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusServiceUnavailable)
	fmt.Fprintf(w, "<!doctype html><title>Closed</title><h1>%s</h1>\n", text)
}
