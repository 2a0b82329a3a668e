package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/spec"
)

func suite(s sdk.SetupService) spec.Suite {
	return spec.Suite{
		SetupService: s,
		Features:     []string{"todo-search.feature"},
		Doubles: []spec.Double{
			{Name: "todos", Service: "todos", Version: "0.0.1", List: "list", Add: "create"},
			{Name: "todos-search", Service: "todo-search", Version: "0.0.1", Add: "add-all", Handlers: map[string]relay.Handler{
				"missing": func(context.Context, *relay.Message) (any, error) { return []string{}, nil },
			}},
		},
	}
}

func TestDeployment(t *testing.T) { spec.Run(t, suite(setup())) }

func TestDeploymentAsTheAppsOwn(t *testing.T) { spec.Run(t, suite(ofApp("todo-app", "0.0.2"))) }

// TestWhatSearchLosesIsNoticed: the script checks that search knows every todo.
func TestWhatSearchLosesIsNoticed(t *testing.T) {
	forgetful := suite(setup())
	forgetful.Doubles[1].Handlers = map[string]relay.Handler{
		"missing": relay.JSON(func(_ context.Context, ids []string) ([]string, error) { return ids[1:], nil }),
	}
	err := forgetful.Run(t.Context(), io.Discard)
	if err == nil || !strings.Contains(err.Error(), "search knows every todo") {
		t.Errorf("the spec says %v", err)
	}
}

// TestTheSpecFindsMistakes breaks the script in ways that the feature has to find.
func TestTheSpecFindsMistakes(t *testing.T) {
	todos := func(ctx context.Context, run *sdk.Run) (all []json.RawMessage) {
		if err := run.Request(ctx, "todos.list", nil, &all); err != nil {
			t.Error(err)
		}
		return all
	}
	add := func(ctx context.Context, run *sdk.Run, todos ...json.RawMessage) error {
		return run.Request(ctx, "todo-search.add-all", todos, nil)
	}
	for _, mistake := range []struct {
		what, found string
		online      sdk.Script
	}{
		{"does nothing", "- | two", func(context.Context, *sdk.Run) error { return nil }},
		{"forgets the first", "- | one", func(ctx context.Context, run *sdk.Run) error {
			return add(ctx, run, todos(ctx, run)[1:]...)
		}},
		{"adds them twice", "+ | two", func(ctx context.Context, run *sdk.Run) error {
			all := todos(ctx, run)
			return add(ctx, run, append(all, all...)...)
		}},
		{"makes a todo up", "+ | three", func(ctx context.Context, run *sdk.Run) error {
			return add(ctx, run, append(todos(ctx, run), json.RawMessage(`{"title": "three"}`))...)
		}},
		{"writes to the old service", "+ | three", func(ctx context.Context, run *sdk.Run) error {
			if err := run.Request(ctx, "todos.create", map[string]string{"title": "three"}, nil); err != nil {
				return err
			}
			return add(ctx, run, todos(ctx, run)[:2]...)
		}},
		{"fails", "out of luck", func(context.Context, *sdk.Run) error { return errors.New("out of luck") }},
		{"panics", "out of luck", func(context.Context, *sdk.Run) error { panic("out of luck") }},
	} {
		t.Run(mistake.what, func(t *testing.T) {
			broken := setup()
			broken.Online = mistake.online
			err := suite(broken).Run(t.Context(), io.Discard)
			if err == nil || !strings.Contains(err.Error(), mistake.found) {
				t.Errorf("the spec says %v, want a failure that tells %q", err, mistake.found)
			}
		})
	}
}
