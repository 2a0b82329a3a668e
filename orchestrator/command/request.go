package command

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// decode reads a request. A field that it does not have is an error: it may be what a newer
// client relies on, or a word that somebody has mistyped.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, more := d.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows on the JSON value")
		}
	}
	if err == nil {
		return nil
	}
	hint := "see the reference of the API for its fields"
	field, unknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	if !unknown {
		return refuse(api.CodeInvalid, hint, "the request is not JSON of the expected form: %v", err)
	}
	field = strings.Trim(field, `"`)
	why := fmt.Sprintf("unknown field %q", field)
	if meant := rollout.Nearest(field, fieldsOf(reflect.TypeOf(into), nil)); meant != "" {
		why += ", did you mean " + meant + "?"
	}
	return refuse(api.CodeInvalid, hint+"; one of a newer version needs a newer orchestrator", "the request is refused: %s", why)
}

// inflated is what a request says.
func inflated(q micro.Request) ([]byte, error) {
	if q.Headers().Get(api.HeaderEncoding) != api.Gzipped {
		return q.Data(), nil
	}
	r, err := gzip.NewReader(bytes.NewReader(q.Data()))
	if err != nil {
		return nil, refuse(api.CodeInvalid, "leave the header "+api.HeaderEncoding+" out", "the request is not compressed as its header says: %v", err)
	}
	data, err := io.ReadAll(io.LimitReader(r, api.MaxRequest+1))
	if err = errors.Join(err, r.Close()); err != nil || len(data) > api.MaxRequest {
		return nil, refuse(api.CodeInvalid, "send less", "the request cannot be read, or has more than %d bytes: %v", api.MaxRequest, err)
	}
	return data, nil
}

// fieldsOf lists the JSON names of a type's fields, also of those within.
func fieldsOf(t reflect.Type, seen []reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct || slices.Contains(seen, t) {
		return nil
	}
	seen = append(seen, t)
	var names []string
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.IsExported() && name != "" && name != "-" {
			names = append(names, name)
		}
		names = append(names, fieldsOf(f.Type, seen)...)
	}
	return names
}

// checkNeeds refuses a request that relies on what this orchestrator does not know.
func checkNeeds(needs []string) error {
	for _, need := range needs {
		if !slices.Contains(api.Features(), need) {
			return refuse(api.CodeInvalid, "bring the orchestrators of this environment up to date", "this orchestrator does not know %q, which the request needs", need)
		}
	}
	return nil
}
