package release

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// makeSchema is the JSON Schema of golive.yaml, from which editors show help. It cannot
// say all that [Parse] checks: not that what is depended on exists, for one.
func makeSchema() []byte {
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
	App     nameShape    `json:"app" jsonschema_description:"Name of the app."`
	Version versionShape `json:"version" jsonschema_description:"Version of the app."`
	differentShape
	MustNotSkip  []versionShape              `json:"mustNotSkip,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Versions of the app, at most 100 and none newer than this one, that must have been completed in an environment before a later one may be rolled out there. Leave it out if any may be skipped."`
	Requires     *requiresShape              `json:"requires,omitempty" jsonschema_description:"What must have happened in the environment before. Leave it out if nothing must."`
	Services     map[string]serviceShape     `json:"services,omitempty" jsonschema_description:"The services of the app by their names."`
	Environments map[string]environmentShape `json:"environments,omitempty" jsonschema_description:"Where the app goes live, by name, and what is different there: maps are merged with those of the manifest, all else is replaced. An environment may stand in a file golive.NAME.yaml beside the manifest instead."`
}

// differentShape are the keys of a manifest that may be different in an environment.
type differentShape struct {
	Strategy   strategyShape   `json:"strategy,omitempty" jsonschema_description:"What the previous version does while this one is prepared. parallel: it serves until this one is online. downtime: it is under maintenance from the offline phase on."`
	RetryAfter retryAfterShape `json:"retryAfter,omitempty" jsonschema_description:"What callers of a service under maintenance are told to wait before they try again, in whole seconds such as 30s or 2m, from 1s to 1h."`
	Setup      appSetupShape   `json:"setup,omitempty" jsonschema_description:"The app's own setup service: the command that starts it, or external for one that is already running. Leave it out if the app has none."`
	Steps      []stepShape     `json:"steps,omitempty" jsonschema_description:"What happens, one after the other. Leave it out for the phases alone."`
	AutoRevert bool            `json:"autoRevert,omitempty" jsonschema:"default=false" jsonschema_description:"A check that fails once the new versions have traffic takes the rollout backward."`
	Seed       commandShape    `json:"seed,omitempty" jsonschema_description:"Command with which golive up --seed makes data, in the folder of the manifest and without a shell. Leave it out if there is none."`
	Data       string          `json:"data,omitempty" jsonschema:"minLength=1,default=.golive" jsonschema_description:"Folder where golive up keeps what it keeps, relative to the folder of the manifest."`
	Reports    string          `json:"reports,omitempty" jsonschema:"minLength=1" jsonschema_description:"Folder where golive deploy, retry, backward, abort and watch write a report of each rollout that they follow to its end, relative to the folder of the manifest. Leave it out for none."`
	Source     *sourceShape    `json:"source,omitempty" jsonschema_description:"What the release may be taken from. Leave it out for anything."`
	Snapshot   string          `json:"snapshot,omitempty" jsonschema:"enum=before-offline,enum=never,default=before-offline" jsonschema_description:"When a rollout takes a snapshot of the data of its services, where they say where it is. before-offline: right before the first script or command that changes data."`
	Approvals  *approvalsShape `json:"approvals,omitempty" jsonschema_description:"Who may say yes. An environment replaces what it names."`
	Snapshots  *snapshotsShape `json:"snapshots,omitempty" jsonschema_description:"Where snapshots of the data lie, and how many are kept. golive serve has it from the manifest that it is given."`

	Mask map[string]map[string]maskShape `json:"mask,omitempty" jsonschema_description:"What is masked in copies of snapshots, as rehearsals get them, by stream or bucket, at most 300, each with at most 100 fields by their paths, such as owner.mail, and tokens of its subjects or keys, such as #1. golive serve has it from the manifest that it is given."`
}

// sourceShape is what a release may be taken from, as it is written.
type sourceShape struct {
	Clean bool `json:"clean,omitempty" jsonschema:"default=false" jsonschema_description:"Only a folder in a git repository in which nothing differs from the commit, or what golive deploy --commit takes."`
}

// JSONSchemaExtend adds what tags cannot say.
func (manifestShape) JSONSchemaExtend(s *jsonschema.Schema) {
	limit(s, "mustNotSkip", MaxMustNotSkip)
	limit(s, "steps", rollout.MaxItems)
	named(s, "services", MaxServices)
	named(s, "environments", MaxEnvironments)
}

// limit sets how many items a list may have.
func limit(s *jsonschema.Schema, key string, most uint64) {
	if list, ok := s.Properties.Get(key); ok {
		list.MaxItems = pointer(most)
	}
}

// between sets the least and the most of a number.
func between(s *jsonschema.Schema, key string, least, most int) {
	if number, ok := s.Properties.Get(key); ok {
		number.Minimum, number.Maximum = json.Number(fmt.Sprint(least)), json.Number(fmt.Sprint(most))
	}
}

// named sets that the keys of a map are names, and how many there may be.
func named(s *jsonschema.Schema, key string, most uint64) {
	if names, ok := s.Properties.Get(key); ok {
		names.MaxProperties = pointer(most)
		names.PropertyNames = nameShape("").JSONSchema()
	}
}

// serviceShape is a service as it is written.
type serviceShape struct {
	Version versionShape `json:"version" jsonschema_description:"Version of the service."`
	serviceDifferentShape
}

// serviceDifferentShape are the keys of a service that may be different in an environment.
type serviceDifferentShape struct {
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
	State      *stateShape    `json:"state,omitempty" jsonschema_description:"Where the data of this service is, for snapshots of the app. Leave it out if it has none."`
}

// JSONSchemaExtend adds what tags cannot say.
func (serviceDifferentShape) JSONSchemaExtend(s *jsonschema.Schema) {
	between(s, "instances", 0, MaxInstances)
	between(s, "retries", 0, rollout.MaxRetries)
	limit(s, "keepOnline", MaxKeepOnline)
}

// JSONSchemaExtend adds what tags cannot say.
func (serviceShape) JSONSchemaExtend(s *jsonschema.Schema) {
	serviceDifferentShape{}.JSONSchemaExtend(s)
	s.Description = "One service version."
	s.DependentRequired = map[string][]string{"setup": {"migrations"}, "backoff": {"retries"}}
}

// stateShape is where the data of a service is, as it is written.
type stateShape struct {
	Streams []streamShape `json:"streams,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Streams."`
	KV      []streamShape `json:"kv,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Key-value buckets."`
	Objects []streamShape `json:"objects,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Object stores."`

	Messages bool              `json:"messages,omitempty" jsonschema:"default=false" jsonschema_description:"The service itself takes, checks and puts its state, over the bus."`
	Command  commandShape      `json:"command,omitempty" jsonschema_description:"Program that takes, checks and puts the state on the host of an agent, without a shell; the word for that is its last argument."`
	On       map[string]string `json:"on,omitempty" jsonschema_description:"Labels of the one agent that runs the command. Leave it out where there is one agent only."`
	Timeout  timeoutShape      `json:"timeout,omitempty" jsonschema_description:"How long each take, check and put of the service or the command may take, from 1s to 24h. Leave it out for 30m."`
	MaxMB    int               `json:"maxMB,omitempty" jsonschema:"default=10240" jsonschema_description:"Megabytes that the service or the command may give."`
}

// JSONSchemaExtend adds what tags cannot say.
func (stateShape) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, kind := range []string{"streams", "kv", "objects"} {
		limit(s, kind, rollout.MaxData)
	}
	s.DependentRequired = map[string][]string{"on": {"command"}}
	between(s, "maxMB", 1, rollout.MaxStateMB)
	labelled(s)
}

type streamShape string

func (streamShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{
		Type: "string", Pattern: `^[A-Za-z0-9_-]{1,200}$`, Not: &jsonschema.Schema{Pattern: `^(GOLIVE$|((KV|OBJ)_)?golive-)`},
	}
}

// snapshotsShape is where snapshots lie, as it is written.
type snapshotsShape struct {
	Store string `json:"store,omitempty" jsonschema:"default=objects" jsonschema_description:"objects: the object store of the environment. Else a folder on the machines of its orchestrators, relative to that of the manifest."`
	Keep  int    `json:"keep,omitempty" jsonschema:"default=5" jsonschema_description:"How many snapshots of an app are kept; the oldest go. 0: all."`
}

// JSONSchemaExtend adds what tags cannot say.
func (snapshotsShape) JSONSchemaExtend(s *jsonschema.Schema) {
	between(s, "keep", 0, MaxKeepSnapshots)
}

// paceShape is a pace as it is written.
type paceShape struct {
	Rate     float64 `json:"rate,omitempty" jsonschema:"minimum=0" jsonschema_description:"Records a second, of all instances of the setup service together. 0: no limit."`
	InFlight int     `json:"inFlight,omitempty" jsonschema_description:"Batches under way at the same time, in each instance of the setup service."`
}

// JSONSchemaExtend adds what tags cannot say.
func (paceShape) JSONSchemaExtend(s *jsonschema.Schema) {
	between(s, "inFlight", 1, rollout.MaxInFlight)
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
	return &jsonschema.Schema{Type: "string", Enum: choices(rollout.Strategies()), Default: rollout.Parallel}
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
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Default: rollout.DefaultBackoff.String()}
}

type retryAfterShape string

func (retryAfterShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern, Default: rollout.DefaultRetryAfter.String()}
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

// maskShape is what becomes of a value, as it is written.
type maskShape string

// JSONSchemaExtend adds what tags cannot say.
func (maskShape) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Enum = []any{"text", "mail", "digits", "drop", "pass"}
}
