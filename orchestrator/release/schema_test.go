package release

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/golive-dev/golive/relay/protocol"
)

const schemaFile = "golive.schema.json"

func TestSchemaFileIsUpToDate(t *testing.T) {
	if *update {
		if err := os.WriteFile(schemaFile, Schema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	committed, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(committed, Schema()) {
		t.Errorf("%s is not what Schema makes: run go test ./orchestrator/release -update", schemaFile)
	}
}

func TestSchemaKnowsTheKeysOfTheParser(t *testing.T) {
	top, service, pace := schemaLevels(t)
	r := &reader{}
	for _, c := range []struct {
		level  string
		schema schemaLevel
		fields []field
	}{
		{"top", top, r.manifestFields(&Manifest{})},
		{"service", service, r.serviceFields(&Service{}, nil)},
		{"pace", pace, r.paceFields(&protocol.Pace{})},
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
	var manifest struct {
		Top      map[string]any            `yaml:",inline"`
		Services map[string]map[string]any `yaml:"services"`
	}
	if err := yaml.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	used := map[string]any{}
	for _, service := range manifest.Services {
		for key, v := range service {
			used[key] = v
		}
	}
	top, service, _ := schemaLevels(t)
	manifest.Top["services"] = nil
	for _, c := range []struct {
		level  string
		used   map[string]any
		schema schemaLevel
	}{{"top", manifest.Top, top}, {"service", used, service}} {
		if got, want := sortedKeys(c.used), c.schema.keys(); !slices.Equal(got, want) {
			t.Errorf("%s: the example has %v, the schema %v", c.level, got, want)
		}
	}
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

func schemaLevels(t *testing.T) (top, service, pace schemaLevel) {
	t.Helper()
	var schema struct {
		schemaLevel
		Defs struct{ Service, Pace schemaLevel } `json:"$defs"`
	}
	if err := json.Unmarshal(Schema(), &schema); err != nil {
		t.Fatal(err)
	}
	return schema.schemaLevel, schema.Defs.Service, schema.Defs.Pace
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
