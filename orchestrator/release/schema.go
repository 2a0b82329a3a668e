package release

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/golive-dev/golive/relay/protocol"
)

// Schema is the JSON Schema of golive.yaml, from which editors show help. It cannot
// say all that [Parse] checks: not that what is depended on exists, for one.
func Schema() []byte {
	reflector := jsonschema.Reflector{
		Anonymous: true, ExpandedStruct: true,
		Namer: func(t reflect.Type) string { return strings.TrimSuffix(t.Name(), "Shape") },
	}
	schema := reflector.Reflect(manifestShape{})
	schema.Title = FileName
	schema.Description = "A golive manifest: of which service versions an app version consists, and what has to run when it goes live."
	text, _ := json.MarshalIndent(schema, "", "  ") // a schema always has a JSON form
	return append(text, '\n')
}

// manifestShape is a manifest as it is written.
type manifestShape struct {
	App         nameShape               `json:"app" jsonschema_description:"Name of the app."`
	Version     versionShape            `json:"version" jsonschema_description:"Version of the app."`
	Strategy    strategyShape           `json:"strategy,omitempty" jsonschema_description:"What the previous version does while this one is prepared. parallel: it serves until this one is online. downtime: it is under maintenance from the offline phase on."`
	RetryAfter  retryAfterShape         `json:"retryAfter,omitempty" jsonschema_description:"What callers of a service under maintenance (strategy downtime) are told to wait before they try again, in whole seconds such as 30s or 2m, from 1s to 1h. It has no effect with strategy parallel."`
	MustNotSkip []versionShape          `json:"mustNotSkip,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Versions of the app, at most 100 and none newer than this one, that must have been completed in an environment before a later one may be rolled out there. Leave it out if any may be skipped."`
	Services    map[string]serviceShape `json:"services,omitempty" jsonschema_description:"The services of the app by their names."`
	Setup       appSetupShape           `json:"setup,omitempty" jsonschema_description:"The app's own setup service: the command that starts it, or external for one that is already running. Leave it out if the app has none."`
	Seed        commandShape            `json:"seed,omitempty" jsonschema_description:"Command with which golive up --seed makes data, in the folder of the manifest and without a shell. Leave it out if there is none."`
	Data        string                  `json:"data,omitempty" jsonschema:"minLength=1,default=.golive" jsonschema_description:"Folder where golive up keeps what it keeps, relative to the folder of the manifest."`
}

// JSONSchemaExtend adds what tags cannot say.
func (manifestShape) JSONSchemaExtend(s *jsonschema.Schema) {
	if versions, ok := s.Properties.Get("mustNotSkip"); ok {
		versions.MaxItems = pointer(MaxMustNotSkip)
	}
	if services, ok := s.Properties.Get("services"); ok {
		services.MaxProperties = pointer(MaxServices)
		services.PropertyNames = nameShape("").JSONSchema()
	}
}

// serviceShape is a service as it is written.
type serviceShape struct {
	Version    versionShape   `json:"version" jsonschema_description:"Version of the service."`
	Run        commandShape   `json:"run,omitempty" jsonschema_description:"Command with which golive up starts the service, in the folder of the manifest and without a shell. Leave it out if the service is already running."`
	Setup      commandShape   `json:"setup,omitempty" jsonschema_description:"Command that starts the setup service of this service. Leave it out if that is already running."`
	Migrations []phaseShape   `json:"migrations,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Phases that the setup service has scripts for. before: before anything changes. offline: the new version runs without production traffic. online: it serves."`
	DependsOn  []nameShape    `json:"dependsOn,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Services of this manifest that go first."`
	Timeout    timeoutShape   `json:"timeout,omitempty" jsonschema_description:"How long each script may take, such as 90s, 10m or 1h30m, at most 720h. Leave it out for no limit."`
	Retries    int            `json:"retries,omitempty" jsonschema:"default=0" jsonschema_description:"How often a script that has failed is tried again by itself, at most 100 times."`
	Backoff    backoffShape   `json:"backoff,omitempty" jsonschema_description:"Pause before the first retry, such as 500ms, 10s or 1m30s, from 100ms to 5m; doubled before each further one, up to 5m. It needs retries."`
	Instances  int            `json:"instances,omitempty" jsonschema:"default=1" jsonschema_description:"How many instances must be alive before the service counts as online. 0: it takes no traffic over the relay."`
	KeepOnline []versionShape `json:"keepOnline,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Other versions of this service, at most 16, that stay online beside this one when it is opened. Leave it out if only this one is to be online."`
	Pace       *paceShape     `json:"pace,omitempty" jsonschema_description:"How fast the scripts of this service may work. Leave it out for what their author has chosen. golive pace changes it while a script runs."`
}

// paceShape is a pace as it is written.
type paceShape struct {
	Rate     float64 `json:"rate,omitempty" jsonschema:"minimum=0" jsonschema_description:"Records a second, of all instances of the setup service together. 0: no limit."`
	InFlight int     `json:"inFlight,omitempty" jsonschema_description:"Batches under way at the same time, in each instance of the setup service."`
}

// JSONSchemaExtend adds what tags cannot say.
func (paceShape) JSONSchemaExtend(s *jsonschema.Schema) {
	if batches, ok := s.Properties.Get("inFlight"); ok {
		batches.Minimum, batches.Maximum = "1", json.Number(fmt.Sprint(MaxInFlight))
	}
}

// JSONSchemaExtend adds what tags cannot say.
func (serviceShape) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Description = "One service version."
	s.DependentRequired = map[string][]string{"setup": {"migrations"}, "backoff": {"retries"}}
	if instances, ok := s.Properties.Get("instances"); ok {
		instances.Minimum, instances.Maximum = "0", json.Number(fmt.Sprint(MaxInstances))
	}
	if retries, ok := s.Properties.Get("retries"); ok {
		retries.Minimum, retries.Maximum = "0", json.Number(fmt.Sprint(MaxRetries))
	}
	if others, ok := s.Properties.Get("keepOnline"); ok {
		others.MaxItems = pointer(MaxKeepOnline)
	}
}

type nameShape string

func (nameShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "string", MaxLength: pointer(protocol.MaxName),
		Pattern: `^[a-z][a-z0-9]*(-[a-z0-9]+)*$`, Not: &jsonschema.Schema{Pattern: `^golive(-|$)`},
	}
}

type versionShape string

func (versionShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "string", MaxLength: pointer(protocol.MaxVersion),
		Pattern: `^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)` +
			`(-(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(\.(0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*)?` +
			`(\+[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?$`,
	}
}

type strategyShape string

func (strategyShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: choices(Strategies()), Default: Parallel}
}

type phaseShape string

func (phaseShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: choices(protocol.ServicePhases())}
}

type timeoutShape string

func (timeoutShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
}

type backoffShape string

func (backoffShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Default: DefaultBackoff.String()}
}

type retryAfterShape string

func (retryAfterShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Default: DefaultRetryAfter.String()}
}

// durationPattern is the form of what the parser takes for a duration.
const durationPattern = `^\+?((\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h))+$`

type commandShape []string

func (commandShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "array", MinItems: pointer(1),
		Items: &jsonschema.Schema{Type: "string", MinLength: pointer(1)},
	}
}

type appSetupShape struct{}

func (appSetupShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		commandShape(nil).JSONSchema(),
		{Type: "string", Const: external},
	}}
}

// choices are words as the values of an enum.
func choices[T any](words []T) []any {
	choices := make([]any, len(words))
	for i, w := range words {
		choices[i] = w
	}
	return choices
}

func pointer(n uint64) *uint64 { return &n }
