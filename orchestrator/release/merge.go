package release

import (
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// overridden is the map at the top of the manifest with what an environment says in its
// place: maps are merged, all else is replaced. It reports what an environment cannot say.
func (r *reader) overridden(base, over *ast.MappingNode) *ast.MappingNode {
	own := *base
	own.Values = slices.DeleteFunc(slices.Clone(base.Values), func(pair *ast.MappingValueNode) bool {
		name, _ := textOf(pair.Key)
		return name == "environments"
	})
	return r.merge(&own, over, nil)
}

// merge is the map base at a path with the pairs of over. What stands in over twice is
// reported here; what is no text is left to who reads the merged map.
func (r *reader) merge(base, over *ast.MappingNode, path []string) *ast.MappingNode {
	merged := *base
	merged.Values = slices.Clone(base.Values)
	places := map[string]int{}
	for i, pair := range slices.Backward(merged.Values) {
		if name, ok := textOf(pair.Key); ok {
			places[name] = i
		}
	}
	first := map[string]position{}
	for _, pair := range over.Values {
		name, ok := textOf(pair.Key)
		if !ok {
			merged.Values = append(merged.Values, pair)
			continue
		}
		at, path := r.begin(pair.Key), append(slices.Clone(path), name)
		if before, twice := first[name]; twice {
			r.twice(at, pathOf(path), before)
			continue
		}
		first[name] = at
		i, known := places[name]
		switch {
		case !r.mayOverride(at, path, known):
		case known:
			merged.Values[i] = r.pair(merged.Values[i], pair, path)
		case len(path) == 1 && name == "services":
			r.pair(nothing(pair), pair, path) // none of them is known
		default:
			merged.Values = append(merged.Values, pair)
		}
	}
	return &merged
}

// pair is a pair of a map with what an environment says in its place.
func (r *reader) pair(base, over *ast.MappingValueNode, path []string) *ast.MappingValueNode {
	node, isMap := over.Value.(*ast.MappingNode)
	if !isMap {
		return over
	}
	own, wasMap := base.Value.(*ast.MappingNode)
	switch {
	case wasMap:
		merged := *base
		merged.Value = r.merge(own, node, path)
		return &merged
	case path[0] == "services" && len(path) <= 2:
		return base // it is wrong, and reported where it stands
	}
	return over
}

// nothing is a pair like that one whose value is an empty map.
func nothing(pair *ast.MappingValueNode) *ast.MappingValueNode {
	empty := *pair
	empty.Value = &ast.MappingNode{IsFlowStyle: true}
	return &empty
}

// mayOverride reports whether an environment may say something else at a path, and
// tells if not. A place that is known is one of the manifest itself.
func (r *reader) mayOverride(at position, path []string, known bool) bool {
	name := path[len(path)-1]
	fixed := func(fields []field) bool {
		i := indexOf(fields, name)
		return i >= 0 && fields[i].fixed
	}
	ofService := path[0] == "services"
	switch {
	case len(path) == 1 && fixed(manifestFields(&Manifest{}, true)), ofService && len(path) == 3 && fixed(serviceFields(&Service{}, nil)):
		r.report(at, pathOf(path), "remove it here", "an environment cannot say %s: that is the same in all of them", bare(name))
		return false
	case ofService && len(path) == 2 && !known:
		r.report(at, pathOf(path), "add it to the services of the manifest",
			"an environment cannot add the service %s, which the manifest does not have", quote(name))
		return false
	}
	return true
}

// pathOf is the name of a place.
func pathOf(path []string) string {
	key := ""
	for _, name := range path {
		key = join(key, name)
	}
	return key
}
