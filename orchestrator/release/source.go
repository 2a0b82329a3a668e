package release

// SourcePolicy is what a release may be taken from. The zero value is anything.
type SourcePolicy struct {
	Clean bool // a folder in a git repository, in which nothing differs from the commit
}

// readSource reads what a release may be taken from.
func readSource(v value) SourcePolicy {
	var s SourcePolicy
	v.fields("a map like {clean: true}", sourceFields(&s))
	return s
}

// sourceFields are the keys of what a release may be taken from.
func sourceFields(s *SourcePolicy) []field {
	return []field{
		{key: "clean", byDefault: "false", read: func(v value) { s.Clean = readTruth(v) }},
	}
}
