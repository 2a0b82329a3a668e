package release

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const schemaFile = "golive.schema.json"

func TestSchemaFileIsUpToDate(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, makeSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, makeSchema()) {
		t.Errorf("%s is out of date: run go test ./orchestrator/release -update", schemaFile)
	}
}

func TestSchemaKnowsTheKeysOfTheParser(t *testing.T) {
	l := schemaLevels(t)
	fixed := func(f field) bool { return f.fixed }
	for _, c := range []struct {
		level  string
		schema schemaLevel
		fields []field
	}{
		{"top", l.schemaLevel, manifestFields(&Manifest{}, false)},
		{"service", l.Defs.Service, serviceFields(&Service{}, nil)},
		{"pace", l.Defs.Pace, paceFields(&protocol.Pace{})},
		{"state", l.Defs.State, stateFields(&rollout.Data{}, &Service{})},
		{"snapshots", l.Defs.Snapshots, snapshotsFields(&Snapshots{})},
		{"step", l.Defs.Step, stepFields(&placed{Step: &Step{}}, nil)},
		{"check", l.Defs.Check, checkFields(&Check{}, nil)},
		{"approvals", l.Defs.Approvals, approvalsFields(&rollout.Policy{})},
		{"source", l.Defs.Source, sourceFields(&SourcePolicy{})},
		{"requires", l.Defs.Requires, requiresFields(&Requirement{}, nil)},
		{"environment", l.Defs.Environment, slices.DeleteFunc(manifestFields(&Manifest{}, true), fixed)},
		{"service of an environment", l.Defs.ServiceDifferent, slices.DeleteFunc(serviceFields(&Service{}, nil), fixed)},
	} {
		if got, want := c.schema.keys(), slices.Sorted(slices.Values(keys(c.fields))); !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %v, the parser reads %v", c.level, got, want)
		}
		var required []string
		for _, f := range c.fields {
			if f.required != "" {
				required = append(required, f.key)
			}
		}
		if !slices.Equal(c.schema.Required, required) || c.schema.AdditionalProperties {
			t.Errorf("%s: the schema requires %v, the parser %v", c.level, c.schema.Required, required)
		}
		for key, property := range c.schema.Properties {
			if property.Description == "" {
				t.Errorf("%s: an editor shows no help for %s", c.level, key)
			}
		}
	}
}

// TestFullManifestShowsEveryKey keeps the example in testdata complete.
func TestFullManifestShowsEveryKey(t *testing.T) {
	text, err := os.ReadFile("testdata/full/golive.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var top map[string]any
	if err := yaml.Unmarshal(text, &top); err != nil {
		t.Fatal(err)
	}
	l := schemaLevels(t)
	steps, _ := top["steps"].([]any)
	services, environments := values(top["services"]), values(top["environments"])
	var checks []any
	for _, step := range steps {
		checks = append(checks, step.(map[string]any)["check"])
	}
	for _, c := range []struct {
		level  string
		used   []any
		schema schemaLevel
	}{
		{"top", []any{top}, l.schemaLevel}, {"service", services, l.Defs.Service},
		{"step", steps, l.Defs.Step}, {"check", checks, l.Defs.Check},
		{"approvals", []any{top["approvals"]}, l.Defs.Approvals}, {"requires", []any{top["requires"]}, l.Defs.Requires},
		{"source", []any{top["source"]}, l.Defs.Source},
		{"environment", environments, l.Defs.Environment},
	} {
		used := map[string]any{}
		for _, u := range c.used {
			m, _ := u.(map[string]any)
			for key := range m {
				used[key] = true
			}
		}
		if got, want := sortedKeys(used), c.schema.keys(); !slices.Equal(got, want) {
			t.Errorf("%s: the example has %v, the schema %v", c.level, got, want)
		}
	}
}

// values are the values of a map.
func values(v any) []any {
	m, _ := v.(map[string]any)
	return slices.Collect(maps.Values(m))
}

func TestSchemaAgreesWithTheProtocol(t *testing.T) {
	name, version := nameShape("").JSONSchema(), versionShape("").JSONSchema()
	for _, word := range []string{"a", "todo-app", "a1-2", "golive", "golive-x", "goliver", "1a", "a-", "a--b", "A", "", "a_b", "-"} {
		schema := regexp.MustCompile(name.Pattern).MatchString(word) && !regexp.MustCompile(name.Not.Pattern).MatchString(word)
		if parser := protocol.ValidateName(word) == nil; schema != parser {
			t.Errorf("name %q: schema %v, parser %v", word, schema, parser)
		}
	}
	for _, word := range []string{"1.0.0", "0.0.1-rc.1+build.5", "v1.0.0", "1.0", "01.0.0", "1.0.0-01", "1.0.0-", "1.0.0+", "", "1.0.0-a..b", "1.0.0 "} {
		schema := regexp.MustCompile(version.Pattern).MatchString(word)
		if parser := protocol.ValidateVersion(word) == nil; schema != parser {
			t.Errorf("version %q: schema %v, parser %v", word, schema, parser)
		}
	}
}

// schemaLevel is what the JSON Schema says about one map of the manifest.
type schemaLevel struct {
	Properties           map[string]struct{ Description string }
	Required             []string
	AdditionalProperties bool
}

func (l schemaLevel) keys() []string { return sortedKeys(l.Properties) }

// allLevels is what the JSON Schema says about all of them.
type allLevels struct {
	schemaLevel
	Defs struct {
		Service, Pace, State, Snapshots, Step, Check, Approvals, Requires, Source, Environment, ServiceDifferent schemaLevel
	} `json:"$defs"`
}

func schemaLevels(t *testing.T) allLevels {
	t.Helper()
	var levels allLevels
	if err := json.Unmarshal(makeSchema(), &levels); err != nil {
		t.Fatal(err)
	}
	return levels
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
