package release

import (
	"encoding/json"
	"fmt"

	"github.com/invopop/jsonschema"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// environmentShape is an environment as it is written.
type environmentShape struct {
	differentShape
	Services map[string]serviceDifferentShape `json:"services,omitempty" jsonschema_description:"What is different of services of the manifest."`
	NATS     string                           `json:"nats,omitempty" jsonschema:"minLength=1" jsonschema_description:"URL of the bus, without a password; several with commas between."`
	Creds    string                           `json:"creds,omitempty" jsonschema:"minLength=1" jsonschema_description:"File of NATS credentials, relative to the folder of the manifest."`
	Context  string                           `json:"context,omitempty" jsonschema_description:"Name of a context of the nats command line, instead of nats and creds."`
	Domain   string                           `json:"jsDomain,omitempty" jsonschema_description:"JetStream domain of the environment, where the bus has several."`
}

// JSONSchemaExtend adds what tags cannot say.
func (environmentShape) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Description = "What is different in an environment."
	limit(s, "steps", rollout.MaxItems)
	named(s, "services", MaxServices)
	if context, ok := s.Properties.Get("context"); ok {
		context.Pattern = contextName.String()
	}
	if domain, ok := s.Properties.Get("jsDomain"); ok {
		domain.Pattern = domainName.String()
	}
	s.Not = &jsonschema.Schema{AnyOf: []*jsonschema.Schema{
		{Required: []string{"context", "nats"}}, {Required: []string{"context", "creds"}},
	}}
}

// requiresShape is a requirement as it is written.
type requiresShape struct {
	Version   versionShape `json:"version" jsonschema_description:"Version of the app, older than this one."`
	Completed bool         `json:"completed,omitempty" jsonschema:"default=true" jsonschema_description:"Its rollout has completed, which is all that can be required."`
}

// JSONSchemaExtend adds what tags cannot say.
func (requiresShape) JSONSchemaExtend(s *jsonschema.Schema) {
	if completed, ok := s.Properties.Get("completed"); ok {
		completed.Const = true
	}
}

// approvalsShape is a policy as it is written.
type approvalsShape struct {
	Required   bool          `json:"required,omitempty" jsonschema:"default=false" jsonschema_description:"Each rollout begins with an approval."`
	By         []string      `json:"by,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Users who may approve, at most 100. Leave it out for anyone."`
	Count      int           `json:"count,omitempty" jsonschema:"default=1" jsonschema_description:"How many different people have to approve."`
	NotStarter bool          `json:"notStarter,omitempty" jsonschema:"default=false" jsonschema_description:"None of them may be the one who started the rollout."`
	Deadline   durationShape `json:"deadline,omitempty" jsonschema_description:"After which a reminder goes out, of approvals that name none: from 1s to 2160h. Leave it out for none."`
	Rehearsed  durationShape `json:"rehearsed,omitempty" jsonschema_description:"Within which this very release has to have passed a rehearsal before it is deployed: from 1m to 720h. Leave it out for none."`
}

// JSONSchemaExtend adds what tags cannot say.
func (approvalsShape) JSONSchemaExtend(s *jsonschema.Schema) {
	limit(s, "by", rollout.MaxApprovals)
	between(s, "count", 1, rollout.MaxApprovals)
}

// stepShape is a step as it is written.
type stepShape struct {
	Name      nameShape         `json:"name,omitempty" jsonschema_description:"Name of an approval, a command or a check."`
	Phase     stepPhaseShape    `json:"phase,omitempty" jsonschema_description:"The scripts of this phase run here. online: the gates open here too, unless a traffic open stands above."`
	Traffic   moveShape         `json:"traffic,omitempty" jsonschema_description:"A move of traffic. open: the new versions get it. drain: services that the release no longer holds get none any more. maintenance-on: requests are answered with 503. maintenance-off: the version that served before serves again."`
	Approval  string            `json:"approval,omitempty" jsonschema:"minLength=1" jsonschema_description:"What a person is asked, who has to say yes."`
	Command   commandShape      `json:"command,omitempty" jsonschema_description:"Program that agents run with forward as its first argument, in the folder of the manifest and without a shell."`
	Shell     string            `json:"shell,omitempty" jsonschema:"minLength=1" jsonschema_description:"Line for sh -c that agents run; it finds forward in $1."`
	Check     *checkShape       `json:"check,omitempty" jsonschema_description:"What agents look at."`
	Services  []nameShape       `json:"services,omitempty" jsonschema:"uniqueItems=true,minItems=1" jsonschema_description:"Of traffic: which services. Leave it out for all of the release."`
	Checklist []string          `json:"checklist,omitempty" jsonschema:"uniqueItems=true" jsonschema_description:"Of an approval: what is confirmed one by one, at most 100 items."`
	Deadline  durationShape     `json:"deadline,omitempty" jsonschema_description:"Of an approval: after which a reminder goes out, from 1s to 2160h. Leave it out for that of the environment."`
	Backward  bool              `json:"backward,omitempty" jsonschema:"default=false" jsonschema_description:"Of a command: it takes backward, too, and undoes then what forward did."`
	Status    bool              `json:"status,omitempty" jsonschema:"default=false" jsonschema_description:"Of a command: it takes status, too, and exits with 0 if forward has been done already."`
	Rehearse  bool              `json:"rehearse,omitempty" jsonschema:"default=false" jsonschema_description:"Of a command: it runs in rehearsals, too."`
	On        map[string]string `json:"on,omitempty" jsonschema_description:"Of a command or check: labels of the agents that it runs on. Leave it out for any one agent."`
	Need      needShape         `json:"need,omitempty" jsonschema_description:"How many hosts must succeed: all, a number, or a share such as 60%. It needs on."`
	AtOnce    int               `json:"atOnce,omitempty" jsonschema_description:"On how many hosts at the same time. Leave it out for all. It needs on."`
	Timeout   timeoutShape      `json:"timeout,omitempty" jsonschema_description:"How long each attempt may take on all hosts, such as 90s, 10m or 1h30m, at most 720h. Leave it out for no limit."`
	Retries   int               `json:"retries,omitempty" jsonschema:"default=0" jsonschema_description:"How often it is tried again by itself on the hosts that have failed, at most 100 times."`
	Backoff   backoffShape      `json:"backoff,omitempty" jsonschema_description:"Pause before the first retry, from 100ms to 5m; doubled before each further one, up to 5m. It needs retries."`
}

// JSONSchemaExtend adds what tags cannot say.
func (stepShape) JSONSchemaExtend(s *jsonschema.Schema) {
	s.Description = "One step: a phase, a move of traffic, an approval, a command or a check."
	for _, k := range kinds() {
		required := []string{k}
		if k != phaseKind && k != trafficKind {
			required = append(required, "name")
		}
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: required})
	}
	s.DependentRequired = map[string][]string{"need": {"on"}, "atOnce": {"on"}, "backoff": {"retries"}}
	limit(s, "services", MaxServices)
	limit(s, "checklist", rollout.MaxChecklist)
	between(s, "atOnce", 1, rollout.MaxHosts)
	between(s, "retries", 0, rollout.MaxRetries)
	labelled(s)
}

// labelled says what labels of agents are.
func labelled(s *jsonschema.Schema) {
	if on, ok := s.Properties.Get("on"); ok {
		on.MinProperties, on.MaxProperties = pointer(1), pointer(rollout.MaxLabels)
		on.PropertyNames = &jsonschema.Schema{Pattern: label.String()}
		on.AdditionalProperties = &jsonschema.Schema{Type: "string", Pattern: label.String()}
	}
}

// checkShape is a check as it is written.
type checkShape struct {
	Command    commandShape  `json:"command,omitempty" jsonschema_description:"Program that exits with 0 if it is well, without a shell."`
	Shell      string        `json:"shell,omitempty" jsonschema:"minLength=1" jsonschema_description:"Line for sh -c that exits with 0 if it is well."`
	HTTP       string        `json:"http,omitempty" jsonschema_description:"URL of a GET request, http or https, without a user."`
	Expect     int           `json:"expect,omitempty" jsonschema_description:"Of http: the status code. Leave it out for any from 200 to 299."`
	Message    string        `json:"message,omitempty" jsonschema_description:"Message to a service of the release, such as todos.count."`
	Payload    string        `json:"payload,omitempty" jsonschema_description:"Of message: JSON. Leave it out for none."`
	Contains   string        `json:"contains,omitempty" jsonschema:"minLength=1" jsonschema_description:"Of http and message: text that the answer must hold."`
	Tries      int           `json:"tries,omitempty" jsonschema:"default=1" jsonschema_description:"How often it is looked at until it has failed."`
	Pause      durationShape `json:"pause,omitempty" jsonschema_description:"Between two tries, from 100ms to 1h. Leave it out for 1s."`
	HealthyFor durationShape `json:"healthyFor,omitempty" jsonschema_description:"How long it must be well without a break, at most 24h. Leave it out if once is enough."`
	Within     durationShape `json:"within,omitempty" jsonschema_description:"How long one try may take, at most 1h. Leave it out for 10s."`
}

// JSONSchemaExtend adds what tags cannot say.
func (checkShape) JSONSchemaExtend(s *jsonschema.Schema) {
	for _, look := range looks() {
		s.OneOf = append(s.OneOf, &jsonschema.Schema{Required: []string{look}})
	}
	between(s, "expect", minExpect, maxExpect)
	between(s, "tries", 1, MaxTries)
}

type stepPhaseShape string

func (stepPhaseShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: choices(allPhases())}
}

type moveShape string

func (moveShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Enum: choices(rollout.Moves())}
}

type durationShape string

func (durationShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Type: "string", Pattern: durationPattern}
}

type needShape struct{}

func (needShape) JSONSchema() *jsonschema.Schema {
	return &jsonschema.Schema{Default: allHosts, OneOf: []*jsonschema.Schema{
		{Type: "string", Const: allHosts},
		{Type: "integer", Minimum: "1", Maximum: json.Number(fmt.Sprint(rollout.MaxHosts))},
		{Type: "string", Pattern: `^0*([1-9][0-9]?|100)%$`},
	}}
}
