package release

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// MaxEnvironments is how many environments a manifest may name.
const MaxEnvironments = 50

// Environment is where a release goes to, and what is different there. The zero value is
// that of no name: nothing is different.
type Environment struct {
	Name      string
	NATS      string         // URLs of the bus; empty: not said
	Creds     string         // file of NATS credentials, relative to the manifest's folder unless absolute; empty: none
	Context   string         // name of a NATS CLI context that says both; empty: none
	Domain    string         // of JetStream; empty: not said
	Approvals rollout.Policy // who may approve
	Source    SourcePolicy   // what a release may be taken from
	Snapshots Snapshots      // where they lie, and how many are kept

	Mask map[string]mask.Written // what is masked in copies of them, by stream or bucket
}

// Bus is an environment that the manifest knows, whichever it was loaded for: where its
// bus is, and who may approve there.
func (m *Manifest) Bus(environment string) (Environment, bool) {
	bus, known := m.buses[environment]
	return bus, known
}

// block is what an environment says.
type block struct {
	name   string
	source int
	value  value
}

// readEnvironments reads the environments of the manifest itself.
func readEnvironments(v value) {
	r := v.r
	entries, ok := v.entries("a map of environments like {staging: {nats: nats://staging:4222}}")
	if !ok {
		return
	}
	for _, e := range entries {
		if len(r.blocks) == MaxEnvironments {
			e.value.reportKey("", tooManyEnvironments, MaxEnvironments+1, MaxEnvironments)
			return
		}
		e.value.breaks(e.value.at, protocol.ValidateName(e.name))
		from := r.add(source{file: r.list[0].file, environment: e.name, block: true})
		b := block{e.name, from, value{r: r, node: e.value.node, at: e.value.at}}
		b.value.at.source = b.source
		r.mark(b.value.node, b.source)
		r.blocks = append(r.blocks, b)
	}
}

const tooManyEnvironments = "this is environment %d: at most %d are allowed"

// blocksOf reads the environments of files beside the manifest.
func (r *reader) blocksOf(beside []file) {
	for _, f := range beside {
		r.source = r.add(source{file: f.path, environment: f.environment})
		r.blockOf(f)
		r.source = 0
	}
}

// blockOf reads the environment of one file.
func (r *reader) blockOf(f file) {
	var invalid *protocol.InvalidError
	if errors.As(protocol.ValidateName(f.environment), &invalid) {
		r.report(position{}, "", "call the file golive.staging.yaml for an environment staging; a manifest stands in a folder of its own",
			"the file is that of an environment whose name %s %s", quote(f.environment), invalid.Rule)
		return
	}
	known := slices.IndexFunc(r.blocks, func(b block) bool { return b.name == f.environment })
	switch {
	case known >= 0:
		r.report(position{}, "", "keep one of the two", "the environment %s stands in line %d of %s, too",
			f.environment, r.blocks[known].value.at.line, r.list[0].file)
		return
	case len(r.blocks) == MaxEnvironments:
		r.report(position{}, "", "", tooManyEnvironments, MaxEnvironments+1, MaxEnvironments)
		return
	}
	if v, ok := r.document(f.data); ok {
		r.blocks = append(r.blocks, block{f.environment, r.source, v})
	}
}

// inForce is a manifest as it is in an environment.
type inForce struct {
	manifest *Manifest
	root     value
}

// manyProblems are so many that the manifest is not read again for each environment, which
// would find them again each time: those of environments come to light after them.
const manyProblems = 100

// environments reads the manifest as it is in each of its environments; nil if it cannot.
// Mistakes of the manifest itself are not reported again.
func (r *reader) environments(root value) map[string]inForce {
	base, isMap := root.node.(*ast.MappingNode)
	if !isMap || len(r.problems) > manyProblems {
		return nil
	}
	clean := len(r.problems) == 0
	in := map[string]inForce{}
	for _, b := range r.blocks {
		within := &reader{sources: r.sources, environment: true}
		known := within.inForce(base, root.at, b)
		in[b.name] = known
		for _, f := range within.problems {
			switch {
			case f.source != 0:
				r.problems = append(r.problems, f)
			case clean:
				f.Message += " (in the environment " + bare(b.name) + ")"
				r.problems = append(r.problems, f)
			}
		}
	}
	return in
}

// inForce reads the manifest as it is in the environment of a block.
func (r *reader) inForce(base *ast.MappingNode, at position, b block) inForce {
	b.value.r = r
	plain, ok := b.value.plain()
	if !ok {
		return inForce{manifest: &Manifest{}}
	}
	over, isMap := plain.node.(*ast.MappingNode)
	if !isMap {
		hint := ""
		if _, isNull := plain.node.(*ast.NullNode); isNull {
			hint = "write {} if nothing is different there"
		}
		plain.report(hint, "expected an environment, a map like {nats: nats://staging:4222}, found %s", describe(plain.node))
		return inForce{manifest: &Manifest{}}
	}
	root := value{r: r, node: r.overridden(base, over), at: at}
	m := r.manifest(root)
	m.Environment.Name = b.name
	return inForce{m, root}
}

// unknownEnvironment reports that the manifest was to be read for an environment that it
// does not know.
func (r *reader) unknownEnvironment(name string) {
	known := map[string]bool{}
	for _, b := range r.blocks {
		known[b.name] = true
	}
	valid := slices.Sorted(maps.Keys(known))
	if len(valid) == 0 {
		r.report(position{}, "environments", "add environments: {"+bare(name)+": {}}, or write a file golive."+strings.Trim(quote(name), `"`)+".yaml",
			"unknown environment %s: the manifest has none", quote(name))
		return
	}
	r.report(position{}, "environments", didYouMean(name, valid), "unknown environment %s: known are %s", quote(name), strings.Join(bares(valid), ", "))
}
